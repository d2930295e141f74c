//! The history as a file: read piece by piece, each when the one before was taken.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;

use super::{HistoryEntry, resolve, session_of, told};
use crate::domain::account::{Role, SecretHash};
use crate::domain::audit::Operation;
use crate::domain::caller::Caller;
use crate::domain::history::{HistoryFilter, HistoryScope, Seek};
use crate::domain::ids::ProjectId;
use crate::domain::result_code::ResultCode;
use crate::service::own_account::Visit;
use crate::service::request::{Request, Right};
use crate::service::{Refusal, Service};
use crate::store::{HistoryWanted, StretchEnd};

/// The most records of a file; a spreadsheet takes 1,048,576 lines.
pub const DOWNLOAD_RECORDS_MAX: usize = 1_000_000;
/// How many records are read at a time: all that is held of a file.
const PIECE: usize = 1_000;
/// How many files are being read at a time.
pub(in crate::service) const DOWNLOADS_MAX: usize = 4;
/// When somebody for whom that is too many asks again.
const AGAIN: Duration = Duration::from_secs(10);

/// By which right a file is read; it is looked at again before each piece.
#[derive(Debug)]
enum Grounds {
    Project(ProjectId),
    Administrator,
}

/// A file of records, newest first, while it is read.
#[derive(Debug)]
pub struct HistoryDownload {
    service: Service,
    wanted: HistoryWanted,
    session: SecretHash,
    caller: Caller,
    grounds: Grounds,
    /// From where it goes on; `None` at the end.
    seek: Option<Seek>,
    left: usize,
    is_cut: bool,
    _place: OwnedSemaphorePermit,
}

impl HistoryDownload {
    /// The next records; `None` after the last.
    pub async fn next(&mut self) -> Result<Option<Vec<HistoryEntry>>, Refusal> {
        while let Some(seek) = self.seek {
            if self.left == 0 {
                (self.is_cut, self.seek) = (true, None);
                break;
            }
            self.require_right().await?;
            let (wanted, limit) = (self.wanted.clone(), PIECE.min(self.left));
            let stretch = self.service.store().read::<_, Refusal, _>(move |reader| Ok(reader.history(&wanted, seek, limit)?)).await?;
            self.seek = match (stretch.end, stretch.entries.last()) {
                (StretchEnd::More, Some(last)) => Some(Seek::Older(last.place)),
                (StretchEnd::Searched(place), _) => Some(Seek::Older(place)),
                (StretchEnd::More | StretchEnd::Nothing, _) => None,
            };
            self.left = self.left.saturating_sub(stretch.entries.len());
            if !stretch.entries.is_empty() {
                return Ok(Some(stretch.entries));
            }
        }
        Ok(None)
    }

    /// Whether it ended at [`DOWNLOAD_RECORDS_MAX`], and there may be more.
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// A session that has ended, or a role that was taken away, ends the file.
    async fn require_right(&self) -> Result<(), Refusal> {
        let session = self.service.live_session(self.session, &self.caller).await?.ok_or(ResultCode::Unauthorized)?;
        let may = match self.grounds {
            Grounds::Project(project) => session.roles_in(project).any(Role::may_read_at_console),
            Grounds::Administrator => session.administrator,
        };
        if may && !session.must_change_password { Ok(()) } else { Err(ResultCode::Forbidden.into()) }
    }
}

impl Service {
    /// A project's history as a file. It is in the audit log before the first of it is read.
    pub async fn download_history(&self, request: Request, filter: HistoryFilter) -> Result<HistoryDownload, Refusal> {
        let session = session_of(&request);
        self.run(request, Operation::DownloadHistory, Right::Read, move |service, scope| {
            Box::pin(async move {
                scope.details(told(&filter));
                let (project, caller) = (scope.project.id, scope.caller.clone());
                service.begin_download(HistoryScope::Project(project), filter, session, caller, Grounds::Project(project)).await
            })
        })
        .await
    }

    /// The audit log as a file, for an administrator of the installation.
    pub async fn download_audit_log(&self, visit: &Visit, scope: HistoryScope, filter: HistoryFilter) -> Result<HistoryDownload, Refusal> {
        let (detail, session, caller) = (told(&filter), visit.session.token, visit.caller.clone());
        let begun = self.begin_download(scope, filter, session, caller, Grounds::Administrator);
        self.look_as_administrator(visit, scope, Operation::DownloadHistory, detail, begun).await
    }

    async fn begin_download(
        &self,
        scope: HistoryScope,
        filter: HistoryFilter,
        session: SecretHash,
        caller: Caller,
        grounds: Grounds,
    ) -> Result<HistoryDownload, Refusal> {
        let place = Arc::clone(&self.0.downloads).try_acquire_owned().map_err(|_| Refusal::TooMany(AGAIN))?;
        let wanted = self.store().read(move |reader| resolve(reader, scope, &filter)).await?;
        let (seek, left) = (Some(Seek::Newest), DOWNLOAD_RECORDS_MAX);
        Ok(HistoryDownload { service: self.clone(), wanted, session, caller, grounds, seek, left, is_cut: false, _place: place })
    }
}
