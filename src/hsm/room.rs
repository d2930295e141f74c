//! What all threads of the room share.

use std::fmt;
use std::os::unix::process::CommandExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use crossbeam_channel::Sender;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::breaker::Breaker;
use super::cache::HandleCache;
use super::canary::Canary;
use super::crew::Crew;
use super::desk::Desk;
use super::durability::TokenFiles;
use super::errors::HsmError;
use super::lanes::{Job, Lane, LaneKind};
use super::lookup::Flights;
use super::object_lock::{ObjectLock, Stopwatch};
use super::profile::Profile;
use super::steward::Order;
use super::{HAND_OFF_EXIT_CODE, TokenSettings};

/// What ends the process when it can't go on: told why. It is called at most once.
pub type HandOff = Arc<dyn Fn(&str) + Send + Sync>;

/// Everything that outlives a connection.
pub(super) struct Room {
    pub(super) settings: TokenSettings,
    pub(super) profile: Arc<Profile>,
    pub(super) files: Option<TokenFiles>,
    pub(super) fast: Arc<Lane>,
    pub(super) slow: Arc<Lane>,
    pub(super) cache: HandleCache,
    pub(super) flights: Flights,
    pub(super) objects: ObjectLock,
    pub(super) breaker: Breaker,
    pub(super) canary: Canary,
    /// Wakes the canary.
    pub(super) kick: Sender<()>,
    /// Orders to the steward.
    pub(super) orders: Sender<Order>,
    /// How long the steward's present step lasts.
    pub(super) step: Stopwatch,
    pub(super) crew: Mutex<Option<Arc<Crew>>>,
    pub(super) identity: Mutex<String>,
    /// The serial number of the token that was opened: another of the same label is not the same token, and gets no PIN.
    pub(super) serial: Mutex<Option<String>>,
    /// How often the connection was rebuilt.
    pub(super) generation: AtomicU64,
    pub(super) workers_replaced: AtomicU64,
    /// Whether the token unwraps with RSA-OAEP.
    pub(super) unwraps: AtomicBool,
    /// Set when the room is shut, and its threads may end.
    pub(super) ended: AtomicBool,
    /// Whether it was shut in good order, the module finalized.
    pub(super) finalized: AtomicBool,
    hand_off: HandOff,
    handed_off: AtomicBool,
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Room").field("label", &self.settings.label).field("phase", &self.breaker.phase()).finish_non_exhaustive()
    }
}

impl Room {
    pub(super) fn new(
        settings: TokenSettings,
        profile: Arc<Profile>,
        files: Option<TokenFiles>,
        orders: Sender<Order>,
        kick: Sender<()>,
        hand_off: HandOff,
    ) -> Self {
        Self {
            fast: Arc::new(Lane::new(settings.fast_workers, settings.queue_limit, settings.fast_deadline)),
            slow: Arc::new(Lane::new(settings.slow_workers, settings.queue_limit, settings.slow_deadline)),
            profile,
            files,
            cache: HandleCache::default(),
            flights: Flights::default(),
            objects: ObjectLock::default(),
            breaker: Breaker::default(),
            canary: Canary::default(),
            kick,
            orders,
            step: Stopwatch::default(),
            crew: Mutex::new(None),
            identity: Mutex::new(String::new()),
            serial: Mutex::new(settings.serial.clone()),
            generation: AtomicU64::new(0),
            workers_replaced: AtomicU64::new(0),
            unwraps: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            finalized: AtomicBool::new(false),
            hand_off,
            handed_off: AtomicBool::new(false),
            settings,
        }
    }

    pub(super) fn lane(&self, kind: LaneKind) -> &Lane {
        match kind {
            LaneKind::Fast => &self.fast,
            LaneKind::Slow => &self.slow,
        }
    }

    /// When a slow operation that begins now must be done.
    pub(super) fn slow_deadline(&self) -> Instant {
        Instant::now() + self.settings.slow_deadline
    }

    /// Opens the breaker and has the connection rebuilt.
    pub(super) fn trip(&self, problem: &str) {
        if self.breaker.trip(problem) {
            tracing::error!(problem, "the token is unavailable; rebuilding the connection");
            // Bounded, but never full: one order for each change of phase.
            if self.orders.try_send(Order::Recover).is_err() {
                self.hand_off("the recovery thread takes no orders");
            }
        }
    }

    /// Queues `body` and waits for its answer until `deadline`.
    pub(super) async fn run<T, E>(
        &self,
        kind: LaneKind,
        deadline: Instant,
        function: &'static str,
        body: impl FnOnce(&mut Desk) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<HsmError> + Send + 'static,
    {
        self.breaker.admit()?;
        let (reply, answer) = oneshot::channel();
        let work = Box::new(move |start: Result<&mut Desk, HsmError>| {
            // Nobody waits any more: the caller hung up or is late.
            if !reply.is_closed() {
                drop(reply.send(start.map_err(E::from).and_then(body)));
            }
        });
        self.lane(kind).submit(Job { deadline, function, work })?;
        match tokio::time::timeout_at(deadline.into(), answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(HsmError::Failed { function, return_value: "no answer: the worker ended".to_owned(), mechanism: None }.into()),
            Err(_) => Err(HsmError::Late { function }.into()),
        }
    }

    /// Ends the process, once: it can't go on with this module, and its supervisor starts it again.
    pub(super) fn hand_off(&self, reason: &str) {
        if !self.handed_off.swap(true, Ordering::AcqRel) {
            self.breaker.give_up(reason.to_owned());
            (self.hand_off)(reason);
        }
    }

    pub(super) fn refuse_queued(&self) {
        let refusal = self.breaker.refusal();
        self.fast.refuse_all(&refusal);
        self.slow.refuse_all(&refusal);
    }
}

/// What logs why and ends the process with [`HAND_OFF_EXIT_CODE`].
pub(super) fn exit_process() -> HandOff {
    Arc::new(|reason| {
        tracing::error!(reason, code = HAND_OFF_EXIT_CODE, "ending the process, to be started again by its supervisor");
        leave(HAND_OFF_EXIT_CODE)
    })
}

/// Ends the process at once with that exit code, though a thread may be inside the module: exiting runs the module's own clean-up,
/// which was seen to crash then. Becoming another program that exits ends all threads and runs nothing.
pub fn leave(code: i32) -> ! {
    let failed = std::process::Command::new("/bin/sh").args(["-c", &format!("exit {code}")]).exec();
    tracing::error!(error = %failed, "no shell to exit by");
    std::process::exit(code)
}
