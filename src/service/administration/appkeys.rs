//! Appkeys of projects.

use super::{Act, Administrator, LIST_PAGE, ProjectRef, random_name};
use crate::domain::appkey::Appkey;
use crate::domain::audit::Operation;
use crate::domain::ids::ProjectId;
use crate::domain::key_store::AppkeySummary;
use crate::domain::text::{Invalid, Name};
use crate::service::{Refusal, Service};
use crate::store::{Change, LAST_APPKEY, StoreError, Tx};

/// An appkey with the project that it names.
#[derive(Debug, Clone)]
pub struct NewAppkey {
    /// The project.
    pub project: ProjectId,
    /// Its name.
    pub project_name: Name,
    /// The appkey.
    pub appkey: Appkey,
}

/// The least characters of an appkey that an operator brings along: in v1.0 it is all that a caller shows.
const APPKEY_MIN_CHARS: usize = 16;
/// How many characters of an appkey the audit log has: enough to tell which, too few to use it.
const APPKEY_TOLD_CHARS: usize = 4;

/// A random appkey.
pub(super) fn fresh_appkey() -> Result<Appkey, Refusal> {
    Appkey::parse(&random_name()?).ok_or_else(|| Refusal::unavailable("an appkey could not be made"))
}

/// Inserts an appkey and notes what that touches.
pub(super) fn insert_appkey(tx: &mut Tx<'_>, act: &mut Act, project: ProjectId, appkey: &Appkey) -> Result<(), Refusal> {
    tx.insert_appkey(appkey, project, &act.stamp)?;
    act.event.project = Some(project);
    act.changes.push(Change::Project(project));
    Ok(())
}

fn told(appkey: &Appkey) -> String {
    format!("appkey {}…", appkey.as_str().chars().take(APPKEY_TOLD_CHARS).collect::<String>())
}

/// An appkey that clients have already.
fn parse_given(text: &str) -> Result<Appkey, Invalid> {
    let problem = || Invalid::new("appkey", format!("must have {APPKEY_MIN_CHARS} to 64 ASCII letters and digits"));
    Appkey::parse(text).filter(|appkey| appkey.as_str().len() >= APPKEY_MIN_CHARS).ok_or_else(problem)
}

impl Service {
    /// Gives a project one more appkey: a random one, or the one that clients have already.
    pub async fn create_appkey(&self, by: impl Into<Administrator>, project: impl Into<ProjectRef>, given: Option<&str>) -> Result<NewAppkey, Refusal> {
        let (fresh, named) = (fresh_appkey()?, project.into());
        let read = || -> Result<_, Invalid> { Ok((named.parsed()?, given.map_or(Ok(fresh), parse_given)?)) };
        let prepared = read().map(|(named, appkey)| (format!("{} of {named}", told(&appkey)), (named, appkey))).map_err(Refusal::from);
        self.administer(by.into(), Operation::CreateAppkey, prepared, |tx, (named, appkey), act| {
            let project = named.find(tx)?;
            act.event.detail = Some(format!("{} of {}", told(&appkey), project.name));
            insert_appkey(tx, act, project.id, &appkey)?;
            Ok(NewAppkey { project: project.id, project_name: project.name, appkey })
        })
        .await
    }

    /// Takes an appkey away, unless it is the only one of its project. With `of`, one of another project is refused as if it were none.
    pub async fn delete_appkey(&self, by: impl Into<Administrator>, appkey: &str, of: Option<ProjectId>) -> Result<(), Refusal> {
        let unknown = || Invalid::new("appkey", "names no project");
        let prepared = Appkey::parse(appkey).ok_or_else(unknown).map(|appkey| (told(&appkey), appkey)).map_err(Refusal::from);
        self.administer(by.into(), Operation::DeleteAppkey, prepared, move |tx, appkey, act| {
            let project = tx.project_by_appkey(&appkey)?.filter(|project| of.is_none_or(|of| of == project.id)).ok_or_else(unknown)?;
            act.event.project = Some(project.id);
            tx.delete_appkey(&appkey, project.id, &act.stamp).map_err(|error| match error {
                StoreError::Stale { what: LAST_APPKEY } => Invalid::new("appkey", "is the only one of its project: make another first").into(),
                other => Refusal::from(other),
            })?;
            act.changes.push(Change::Project(project.id));
            Ok(())
        })
        .await
    }

    /// A page of appkeys, at most [`LIST_PAGE`], of one project or of all.
    pub async fn list_appkeys(&self, by: impl Into<Administrator>, project_name: Option<&str>, after: Option<Appkey>) -> Result<Vec<AppkeySummary>, Refusal> {
        let prepared = match project_name.map(|name| Name::parse("project", name)).transpose() {
            Ok(Some(name)) => Ok((format!("appkeys of {name}"), Some(name))),
            Ok(None) => Ok(("appkeys".to_owned(), None)),
            Err(invalid) => Err(invalid.into()),
        };
        self.look(by.into(), prepared, after.is_none(), move |reader, name| {
            let of = name.map(|name| ProjectRef::from(name.as_str()).parsed()?.find(reader)).transpose()?.map(|project| project.id);
            Ok(reader.appkeys(of, after.as_ref(), LIST_PAGE)?)
        })
        .await
    }
}
