//! Who is told of what.

use diesel::prelude::*;

use super::dialect;
use super::error::StoreError;
use super::rows::{changed_one, known, stamp};
use super::schema::{notification_messages, notification_recipients};
use super::unit::{Reader, Tx};
use crate::domain::ids::{ProjectId, RecipientId};
use crate::domain::key::Stamp;
use crate::domain::notification::{EventKind, RECIPIENTS_MAX, Recipient, Target};

/// Two at the same moment on two nodes may make one or two too many, who then get their messages as well.
const READ_MAX: i64 = RECIPIENTS_MAX * 2;

/// What is `Stale` where there are [`RECIPIENTS_MAX`] recipients already.
pub const TOO_MANY_RECIPIENTS: &str = "number of recipients";

/// A recipient that is made.
#[derive(Debug, Clone)]
pub struct NewRecipient {
    /// The project; none for the installation.
    pub project: Option<ProjectId>,
    /// Where messages go.
    pub target: Target,
    /// Of what.
    pub events: Vec<EventKind>,
    /// A webhook's secret, sealed.
    pub sealed_secret: Option<Vec<u8>>,
}

#[derive(Queryable)]
pub(super) struct Row {
    id: i64,
    project: Option<i64>,
    channel: String,
    target: String,
    events: String,
    enabled: bool,
    dropped: i64,
    created_by: String,
    created_at: i64,
}

pub(super) type Columns = (
    notification_recipients::id,
    notification_recipients::project_id,
    notification_recipients::channel,
    notification_recipients::target,
    notification_recipients::events,
    notification_recipients::enabled,
    notification_recipients::dropped,
    notification_recipients::created_by,
    notification_recipients::created_at,
);

pub(super) const COLUMNS: Columns = (
    notification_recipients::id,
    notification_recipients::project_id,
    notification_recipients::channel,
    notification_recipients::target,
    notification_recipients::events,
    notification_recipients::enabled,
    notification_recipients::dropped,
    notification_recipients::created_by,
    notification_recipients::created_at,
);

/// Words that a newer version wrote are left out.
fn events(words: &str) -> Vec<EventKind> {
    words.split(' ').filter_map(EventKind::parse).collect()
}

fn words(events: &[EventKind]) -> String {
    events.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(" ")
}

pub(super) fn recipient(row: Row) -> Result<Recipient, StoreError> {
    Ok(Recipient {
        id: RecipientId(row.id),
        project: row.project.map(ProjectId),
        target: known(Target::from_stored(&row.channel, row.target), "recipient")?,
        events: events(&row.events),
        enabled: row.enabled,
        dropped: row.dropped,
        created: stamp(row.created_by, row.created_at),
    })
}

impl Reader<'_> {
    /// The recipients of a project, or of the installation, oldest first.
    pub fn recipients(&mut self, project: Option<ProjectId>) -> Result<Vec<Recipient>, StoreError> {
        let mut query = notification_recipients::table.order(notification_recipients::id).limit(READ_MAX).select(COLUMNS).into_boxed();
        query = match project {
            Some(project) => query.filter(notification_recipients::project_id.eq(project.0)),
            None => query.filter(notification_recipients::project_id.is_null()),
        };
        query.load::<Row>(self.db)?.into_iter().map(recipient).collect()
    }

    /// A recipient, if it is one of that project, or of the installation.
    pub fn recipient(&mut self, project: Option<ProjectId>, id: RecipientId) -> Result<Option<Recipient>, StoreError> {
        let row: Option<Row> = notification_recipients::table.find(id.0).select(COLUMNS).first(self.db).optional()?;
        Ok(row.map(recipient).transpose()?.filter(|found| found.project == project))
    }

    /// A webhook's secret, sealed.
    pub fn recipient_secret(&mut self, id: RecipientId) -> Result<Option<Vec<u8>>, StoreError> {
        let secret: Option<Option<Vec<u8>>> =
            notification_recipients::table.find(id.0).select(notification_recipients::sealed_secret).first(self.db).optional()?;
        Ok(secret.flatten())
    }
}

impl Tx<'_> {
    /// Makes a recipient, enabled. `Exists` if that target is one already, `Stale` if there are as many as may be.
    pub fn insert_recipient(&mut self, new: &NewRecipient, created: &Stamp) -> Result<RecipientId, StoreError> {
        if i64::try_from(self.recipients(new.project)?.len()).unwrap_or(i64::MAX) >= RECIPIENTS_MAX {
            return Err(StoreError::Stale { what: TOO_MANY_RECIPIENTS });
        }
        let id: i64 = diesel::insert_into(notification_recipients::table)
            .values((
                notification_recipients::project_id.eq(new.project.map(|project| project.0)),
                notification_recipients::channel.eq(new.target.channel()),
                notification_recipients::target.eq(new.target.as_str()),
                notification_recipients::events.eq(words(&new.events)),
                notification_recipients::enabled.eq(true),
                notification_recipients::sealed_secret.eq(new.sealed_secret.as_deref()),
                notification_recipients::dropped.eq(0),
                notification_recipients::created_by.eq(&created.user),
                notification_recipients::created_at.eq(created.at.micros()),
                notification_recipients::changed_by.eq(&created.user),
                notification_recipients::changed_at.eq(created.at.micros()),
            ))
            .returning(notification_recipients::id)
            .get_result(self.db)?;
        Ok(RecipientId(id))
    }

    /// Gives a recipient other events. What was dropped counts from now.
    pub fn set_recipient_events(&mut self, id: RecipientId, events: &[EventKind], changed: &Stamp) -> Result<(), StoreError> {
        let rows = diesel::update(notification_recipients::table.find(id.0))
            .set((
                notification_recipients::events.eq(words(events)),
                notification_recipients::dropped.eq(0),
                notification_recipients::changed_by.eq(&changed.user),
                notification_recipients::changed_at.eq(changed.at.micros()),
            ))
            .execute(self.db)?;
        changed_one(rows, "recipient")
    }

    /// Enables or disables a recipient. Disabled, it gets nothing; what waits for it waits on, and is parked with its age.
    pub fn set_recipient_enabled(&mut self, id: RecipientId, enabled: bool, changed: &Stamp) -> Result<(), StoreError> {
        let rows = diesel::update(notification_recipients::table.find(id.0))
            .set((
                notification_recipients::enabled.eq(enabled),
                notification_recipients::changed_by.eq(&changed.user),
                notification_recipients::changed_at.eq(changed.at.micros()),
            ))
            .execute(self.db)?;
        changed_one(rows, "recipient")
    }

    /// Takes a recipient away, with all messages to it.
    pub fn delete_recipient(&mut self, id: RecipientId) -> Result<(), StoreError> {
        // Held first: a message that comes in at this moment finds no recipient, or is deleted here.
        if !dialect::lock_recipient(self.db, id.0)? {
            return Err(StoreError::Stale { what: "recipient" });
        }
        diesel::delete(notification_messages::table.filter(notification_messages::recipient_id.eq(id.0))).execute(self.db)?;
        diesel::delete(notification_recipients::table.find(id.0)).execute(self.db)?;
        Ok(())
    }
}
