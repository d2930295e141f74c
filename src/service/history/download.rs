//! The history as a file: read piece by piece, each when the one before was taken.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{HistoryEntry, resolve, session_of, told};
use crate::domain::account::{Role, SecretHash};
use crate::domain::audit::Operation;
use crate::domain::caller::Caller;
use crate::domain::history::{HistoryFilter, HistoryScope, Seek};
use crate::domain::ids::{AccountId, ProjectId};
use crate::domain::result_code::ResultCode;
use crate::service::own_account::Visit;
use crate::service::request::{Request, Right};
use crate::service::{Refusal, Service};
use crate::store::{HistoryWanted, StretchEnd};

/// The most records of a file; a spreadsheet takes 1,048,576 lines.
pub const DOWNLOAD_RECORDS_MAX: usize = 1_000_000;
/// How many records are read at a time: all that is held of a file.
const PIECE: usize = 1_000;
/// How many files are being read at a time, each by another account.
const DOWNLOADS_MAX: usize = 4;
/// How long a file may take, whoever is slow.
const DOWNLOAD_WITHIN: Duration = Duration::from_secs(15 * 60);
/// How many times a file's search may come to its reach without a whole piece: with 100,000 records or so each (`HISTORY_REACH` of the store), ten million
/// that are looked at for a filter that matches seldom or never.
const SEARCHES_MAX: usize = 100;
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
    searches_left: usize,
    until: Instant,
    is_cut: bool,
    /// Gives the place back when it is dropped.
    _under_way: oneshot::Sender<()>,
}

/// Who is reading a file.
#[derive(Debug, Default)]
pub(in crate::service) struct Downloads(Mutex<Vec<AccountId>>);

/// A place among those who are; given back when it is dropped.
#[derive(Debug)]
struct Place {
    downloads: Arc<Downloads>,
    account: AccountId,
}

impl Place {
    /// One for the account, unless it has one or all are taken.
    fn take(downloads: &Arc<Downloads>, account: AccountId) -> Option<Self> {
        let mut taken = downloads.0.lock();
        if taken.len() >= DOWNLOADS_MAX || taken.contains(&account) {
            return None;
        }
        taken.push(account);
        Some(Self { downloads: Arc::clone(downloads), account })
    }

    /// Keeps it until what this answers is dropped, but no longer than `within`: whoever doesn't read on is never asked.
    fn keep(self, within: Duration) -> oneshot::Sender<()> {
        let (under_way, over) = oneshot::channel();
        tokio::spawn(async move {
            tokio::time::timeout(within, over).await.ok();
            drop(self);
        });
        under_way
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.downloads.0.lock().retain(|account| *account != self.account);
    }
}

impl HistoryDownload {
    /// The next records; `None` after the last.
    pub async fn next(&mut self) -> Result<Option<Vec<HistoryEntry>>, Refusal> {
        while let Some(seek) = self.seek {
            if self.left == 0 || self.searches_left == 0 || Instant::now() >= self.until {
                (self.is_cut, self.seek) = (true, None);
                break;
            }
            self.require_right().await?;
            let (wanted, limit) = (self.wanted.clone(), PIECE.min(self.left));
            let stretch = {
                let _turn = self.service.turn_to_list().await?;
                self.service.store().read::<_, Refusal, _>(move |reader| Ok(reader.history(&wanted, seek, limit)?)).await?
            };
            if matches!(stretch.end, StretchEnd::Searched(_)) {
                self.searches_left = self.searches_left.saturating_sub(1);
            }
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

    /// Whether it ended at [`DOWNLOAD_RECORDS_MAX`], or took or searched too long, and there may be more.
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
        let account = self.live_session(session, &caller).await?.ok_or(ResultCode::Unauthorized)?.account;
        let under_way = Place::take(&self.0.downloads, account).ok_or(Refusal::TooMany(AGAIN))?.keep(DOWNLOAD_WITHIN);
        let wanted = {
            let _turn = self.turn_to_list().await?;
            self.store().read(move |reader| resolve(reader, scope, &filter)).await?
        };
        Ok(HistoryDownload {
            service: self.clone(),
            wanted,
            session,
            caller,
            grounds,
            seek: Some(Seek::Newest),
            left: DOWNLOAD_RECORDS_MAX,
            searches_left: SEARCHES_MAX,
            until: Instant::now() + DOWNLOAD_WITHIN,
            is_cut: false,
            _under_way: under_way,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_account_has_one_place_and_nobody_keeps_one_by_not_reading() {
        let downloads = Arc::new(Downloads::default());
        let first = Place::take(&downloads, AccountId(0)).expect("a place");
        assert!(Place::take(&downloads, AccountId(0)).is_none(), "one at a time");
        let others: Vec<_> = (1..).map_while(|account| Place::take(&downloads, AccountId(account))).collect();
        assert_eq!(others.len(), DOWNLOADS_MAX - 1);
        let free = async |account| {
            while Place::take(&downloads, AccountId(account)).is_none() {
                tokio::task::yield_now().await;
            }
        };
        let under_way = first.keep(Duration::from_millis(1));
        free(0).await;
        drop(under_way);
        // Whoever ends early doesn't hold it on either.
        drop(others);
        drop(Place::take(&downloads, AccountId(9)).expect("a place").keep(DOWNLOAD_WITHIN));
        free(9).await;
    }
}
