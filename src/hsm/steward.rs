//! The thread that owns the connection: it rebuilds it when it is lost, and takes it down at the end.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use cryptoki::context::Pkcs11;
use cryptoki::session::Session;

use super::breaker::Phase;
use super::canary;
use super::connection::{self, Access, ConnectError, Connection};
use super::crew::Crew;
use super::desk::Desk;
use super::errors::HsmError;
use super::objects;
use super::room::Room;
use crate::domain::secret::SecretBytes;

/// The pauses between tries to rebuild the connection; the last one goes on.
const BACKOFF: [Duration; 4] = [Duration::from_millis(100), Duration::from_millis(250), Duration::from_millis(500), Duration::from_secs(1)];

/// How often what came into the queues just before the breaker opened is refused.
const REFUSE_EVERY: Duration = Duration::from_millis(10);

/// An order to the steward.
#[derive(Debug)]
pub(super) enum Order {
    /// The breaker is open: rebuild the connection.
    Recover,
    /// Take everything down until then, and say whether all threads came in and the module is finalized.
    ShutDown { until: Instant, done: Sender<bool> },
}

/// A connection that is up, logged in and searched.
pub(super) struct Line {
    pub(super) connection: Arc<Connection>,
    /// Keeps the login while no worker has a session.
    guard: Session,
}

/// Initializes the module and makes a connection, with a cache of its objects. Leaves the module finalized when it fails.
pub(super) fn establish(room: &Arc<Room>, module: &Pkcs11, pin: &SecretBytes, generation: u64) -> Result<Line, ConnectError> {
    connection::initialize(module)?;
    let established = connect_and_enumerate(room, module, pin, generation);
    if established.is_err() {
        connection::finalize(module);
    }
    established
}

fn connect_and_enumerate(room: &Arc<Room>, module: &Pkcs11, pin: &SecretBytes, generation: u64) -> Result<Line, ConnectError> {
    let serial = room.serial.lock().clone();
    let (connection, guard) = connection::connect(module, (&room.settings.label, serial.as_deref()), &room.profile, pin, generation)?;
    let lock = room.objects.acquire(room.slow_deadline(), "C_FindObjects").map_err(ConnectError::Other)?;
    let keys = objects::find_keys(&lock, &guard)?;
    drop(lock);
    let entries = objects::identify(&guard, &keys, || room.step.lap())?;
    room.cache.rebuild(generation, entries);
    let mut desk = Desk::new(Arc::clone(room), Arc::clone(&connection), Access::ReadOnly);
    canary::prove_fully(&mut desk)?;
    *room.identity.lock() = connection.identity.clone();
    *room.serial.lock() = Some(connection.serial.clone());
    room.unwraps.store(connection.unwraps, Ordering::Release);
    Ok(Line { connection, guard })
}

pub(super) struct Steward {
    pub(super) room: Arc<Room>,
    pub(super) module: Pkcs11,
    pub(super) pin: SecretBytes,
    pub(super) line: Option<Line>,
    pub(super) orders: Receiver<Order>,
    pub(super) kick: Receiver<()>,
}

/// What to do after an order.
enum Next {
    GoOn,
    End,
}

impl Steward {
    /// Serves orders until the room is shut.
    pub(super) fn run(mut self) {
        loop {
            let next = match self.wait(None) {
                Some(Order::Recover) => self.recover(),
                Some(Order::ShutDown { until, done }) => self.shut_down(until, &done),
                None => Next::GoOn,
            };
            if matches!(next, Next::End) {
                self.room.ended.store(true, Ordering::Release);
                return;
            }
        }
    }

    /// The next order, or `None` after `pause`. While the breaker is open, what still comes into the queues is refused at once.
    fn wait(&self, pause: Option<Duration>) -> Option<Order> {
        let end = pause.map(|pause| Instant::now() + pause);
        loop {
            let left = end.map_or(Duration::from_secs(3600), |end| end.saturating_duration_since(Instant::now()));
            if self.room.breaker.phase() == Phase::Serving {
                return self.orders.recv_timeout(left).ok();
            }
            self.room.refuse_queued();
            match self.orders.recv_timeout(left.min(REFUSE_EVERY)) {
                Ok(order) => return Some(order),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) if left <= REFUSE_EVERY => return None,
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    fn recover(&mut self) -> Next {
        if self.room.breaker.phase() != Phase::Recovering {
            return Next::GoOn;
        }
        if !self.take_down() {
            self.room.hand_off("a worker did not come back while the connection to the token was taken down");
            return Next::GoOn;
        }
        let mut pauses = BACKOFF.into_iter().chain(std::iter::repeat(Duration::from_secs(1)));
        loop {
            match self.rebuild() {
                Ok(()) => return Next::GoOn,
                Err(ConnectError::Pin(problem)) => {
                    tracing::error!(problem, "the token does not take its PIN any more: giving up");
                    self.room.breaker.give_up(problem);
                    return Next::GoOn;
                }
                Err(ConnectError::Other(error)) => {
                    tracing::warn!(%error, "the token is still away");
                    self.room.breaker.note(error.to_string());
                }
            }
            match self.wait(pauses.next()) {
                Some(Order::ShutDown { until, done }) => return self.shut_down(until, &done),
                Some(Order::Recover) | None => {}
            }
        }
    }

    /// Drops every session of the lost connection and finalizes the module; `false` if a thread is still out.
    fn take_down(&mut self) -> bool {
        let deadline = Instant::now() + self.room.slow.deadline + self.room.fast.deadline;
        let crew = self.room.crew.lock().take();
        if let Some(crew) = crew {
            crew.leave();
            if !crew.wait_out(deadline, || self.room.refuse_queued()) {
                // Still out: nobody may finalize.
                *self.room.crew.lock() = Some(crew);
                return false;
            }
        }
        self.room.refuse_queued();
        self.timed(|steward| steward.hang_up());
        true
    }

    /// Drops the guard session and finalizes.
    fn hang_up(&mut self) {
        if let Some(line) = self.line.take() {
            drop(line.guard);
            connection::finalize(&self.module);
        }
    }

    fn rebuild(&mut self) -> Result<(), ConnectError> {
        let generation = self.room.generation.load(Ordering::Acquire) + 1;
        let line = self.timed(|steward| establish(&steward.room, &steward.module, &steward.pin, generation))?;
        let crew = match Crew::start(&self.room, &line.connection, &self.kick) {
            Ok(crew) => crew,
            Err(error) => {
                self.line = Some(line);
                self.hang_up();
                return Err(ConnectError::Other(error));
            }
        };
        self.line = Some(line);
        self.room.generation.store(generation, Ordering::Release);
        *self.room.crew.lock() = Some(crew);
        self.room.breaker.close();
        tracing::info!(generation, objects = self.room.cache.len(), "the connection to the token is rebuilt");
        Ok(())
    }

    fn shut_down(&mut self, until: Instant, done: &Sender<bool>) -> Next {
        let crew = self.room.crew.lock().take();
        let all_in = crew.is_none_or(|crew| {
            crew.finish();
            crew.wait_out(until, || {})
        });
        self.room.refuse_queued();
        if all_in {
            self.timed(Self::hang_up);
            self.room.finalized.store(true, Ordering::Release);
        } else if let Some(line) = self.line.take() {
            // A thread is in the module: closing the session could hang as well. The process exits soon.
            std::mem::forget(line.guard);
        }
        // Nobody listens if it took too long.
        let _ = done.try_send(all_in);
        Next::End
    }

    /// Runs a step that calls the module, timed so that the watch sees when it hangs.
    fn timed<T>(&mut self, step: impl FnOnce(&mut Self) -> T) -> T {
        self.room.step.start();
        let result = step(self);
        self.room.step.stop();
        result
    }
}

/// The error that opening answers for a connection that could not be made.
pub(super) fn opening_error(error: ConnectError) -> HsmError {
    match error {
        ConnectError::Other(HsmError::Failed { function: "C_Initialize", return_value, .. }) => {
            HsmError::Setup(format!("the PKCS#11 module does not initialize: {return_value}"))
        }
        other => other.into(),
    }
}
