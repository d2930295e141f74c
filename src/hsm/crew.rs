//! The threads that work on one connection: workers of both lanes and the canary. A new connection gets a new crew.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::{Condvar, Mutex};

use super::canary;
use super::connection::{Access, Connection};
use super::desk::Desk;
use super::errors::HsmError;
use super::lanes::{Lane, LaneKind, Patience};
use super::object_lock::Stopwatch;
use super::room::Room;

/// Workers that may be out at the same time, for each that there should be, before the breaker opens.
const LOST_PER_WORKER: usize = 1;

/// What a crew is told to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Will {
    Work = 0,
    /// Finish what is queued, then end.
    Finish = 1,
    /// End after the job at hand.
    Leave = 2,
}

/// Where one thread of the crew can be watched.
#[derive(Debug)]
pub(super) struct Post {
    /// `None` for the canary.
    pub(super) lane: Option<LaneKind>,
    busy: Stopwatch,
    /// Its place was given to another: it ends when it comes back.
    replaced: AtomicBool,
}

impl Post {
    fn new(lane: Option<LaneKind>) -> Arc<Self> {
        Arc::new(Self { lane, busy: Stopwatch::default(), replaced: AtomicBool::new(false) })
    }

    pub(super) fn begin(&self) {
        self.busy.start();
    }

    pub(super) fn end(&self) {
        self.busy.stop();
    }

    pub(super) fn busy_for(&self) -> Option<Duration> {
        self.busy.elapsed()
    }
}

/// Threads that are there: counted down as each ends, its session closed.
#[derive(Debug, Default)]
struct Roll {
    present: Mutex<usize>,
    changed: Condvar,
}

struct Presence(Arc<Roll>);

impl Presence {
    fn of(roll: &Arc<Roll>) -> Self {
        *roll.present.lock() += 1;
        Self(Arc::clone(roll))
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        *self.0.present.lock() -= 1;
        self.0.changed.notify_all();
    }
}

#[derive(Debug)]
pub(super) struct Crew {
    connection: Arc<Connection>,
    roll: Arc<Roll>,
    will: AtomicU8,
    /// Where the workers wait.
    lanes: [Arc<Lane>; 2],
    /// Closed to wake the canary.
    stop: Mutex<Option<Sender<()>>>,
    stopped: Receiver<()>,
    posts: Mutex<Vec<Arc<Post>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Crew {
    /// Starts all threads.
    pub(super) fn start(room: &Arc<Room>, connection: &Arc<Connection>, kick: &Receiver<()>) -> Result<Arc<Self>, HsmError> {
        let (stop, stopped) = bounded(0);
        let crew = Arc::new(Self {
            connection: Arc::clone(connection),
            roll: Arc::default(),
            will: AtomicU8::new(Will::Work as u8),
            lanes: [Arc::clone(&room.fast), Arc::clone(&room.slow)],
            stop: Mutex::new(Some(stop)),
            stopped,
            posts: Mutex::default(),
            threads: Mutex::default(),
        });
        let started = crew.start_all(room, kick);
        if started.is_err() {
            crew.leave();
        }
        started.map(|()| crew)
    }

    fn start_all(self: &Arc<Self>, room: &Arc<Room>, kick: &Receiver<()>) -> Result<(), HsmError> {
        for kind in LaneKind::ALL {
            for _ in 0..room.lane(kind).workers {
                self.start_worker(room, kind)?;
            }
        }
        let post = Post::new(None);
        let (kick, stopped, watched) = (kick.clone(), self.stopped.clone(), Arc::clone(&post));
        let mut desk = Desk::new(Arc::clone(room), Arc::clone(&self.connection), Access::ReadOnly);
        self.spawn("token-canary", post, move || canary::watch(&mut desk, &watched, &kick, &stopped))
    }

    fn start_worker(self: &Arc<Self>, room: &Arc<Room>, kind: LaneKind) -> Result<(), HsmError> {
        let access = if kind == LaneKind::Fast { Access::ReadOnly } else { Access::ReadWrite };
        let desk = Desk::new(Arc::clone(room), Arc::clone(&self.connection), access);
        let post = Post::new(Some(kind));
        let (crew, watched, name) = (Arc::clone(self), Arc::clone(&post), format!("token-{}", kind.as_str()));
        self.spawn(&name, post, move || crew.work(desk, kind, &watched))
    }

    fn spawn(&self, name: &str, post: Arc<Post>, body: impl FnOnce() + Send + 'static) -> Result<(), HsmError> {
        let presence = Presence::of(&self.roll);
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            body();
            // After the body, and the session that it owned.
            drop(presence);
        });
        let thread = thread.map_err(|error| HsmError::Setup(format!("thread {name}: {error}")))?;
        self.posts.lock().push(post);
        self.threads.lock().push(thread);
        Ok(())
    }

    fn will(&self) -> Will {
        match self.will.load(Ordering::Acquire) {
            0 => Will::Work,
            1 => Will::Finish,
            _ => Will::Leave,
        }
    }

    fn work(&self, mut desk: Desk, kind: LaneKind, post: &Post) {
        let room = Arc::clone(&desk.room);
        let lane = room.lane(kind);
        let mut last = None;
        while let Some((job, turn)) = lane.next(last.as_ref(), || self.patience()) {
            last = Some(turn);
            if self.will() == Will::Leave {
                job.refuse(room.breaker.refusal());
                continue;
            }
            post.begin();
            let run = std::panic::AssertUnwindSafe(|| job.run(&mut desk));
            if std::panic::catch_unwind(run).is_err() {
                // The panic hook has told where; its caller was told when the reply was dropped.
                desk.discard_session();
            }
            post.end();
            if post.replaced.load(Ordering::Acquire) {
                last.iter().for_each(|turn| lane.end(turn));
                return;
            }
        }
    }

    fn patience(&self) -> Patience {
        match self.will() {
            Will::Work => Patience::Wait,
            Will::Finish => Patience::Finish,
            Will::Leave => Patience::Leave,
        }
    }

    /// Has the crew end after the jobs at hand.
    pub(super) fn leave(&self) {
        self.end(Will::Leave);
    }

    /// Has the crew end after everything that is queued.
    pub(super) fn finish(&self) {
        self.end(Will::Finish);
    }

    fn end(&self, will: Will) {
        self.will.fetch_max(will as u8, Ordering::AcqRel);
        *self.stop.lock() = None;
        self.lanes.iter().for_each(|lane| lane.wake_all());
    }

    /// Waits until all threads have ended, calling `meanwhile` now and then; `false` if one is still out at `deadline`.
    pub(super) fn wait_out(&self, deadline: Instant, mut meanwhile: impl FnMut()) -> bool {
        const STEP: Duration = Duration::from_millis(20);
        loop {
            {
                let mut present = self.roll.present.lock();
                if *present > 0 {
                    self.roll.changed.wait_until(&mut present, deadline.min(Instant::now() + STEP));
                }
                if *present == 0 {
                    break;
                }
            }
            meanwhile();
            if Instant::now() >= deadline {
                return false;
            }
        }
        // They have nothing left to do but return.
        let threads = std::mem::take(&mut *self.threads.lock());
        threads.into_iter().for_each(|thread| drop(thread.join()));
        true
    }

    /// Replaces workers that have been busy for longer than their lane's deadline; opens the breaker when too many are out,
    /// or when the canary doesn't come back.
    pub(super) fn look_after(self: &Arc<Self>, room: &Arc<Room>) {
        if self.will() != Will::Work {
            return;
        }
        self.lanes.iter().for_each(|lane| lane.look_after());
        let overdue = |post: &&Arc<Post>| {
            let limit = post.lane.map_or(room.slow.deadline + room.fast.deadline, |kind| room.lane(kind).deadline);
            post.busy_for().is_some_and(|busy| busy > limit)
        };
        let mut posts = self.posts.lock();
        posts.retain(|post| !(post.replaced.load(Ordering::Acquire) && post.busy_for().is_none()));
        let late: Vec<_> = posts.iter().filter(overdue).cloned().collect();
        drop(posts);
        if late.iter().any(|post| post.lane.is_none()) {
            room.trip("the canary did not come back");
            return;
        }
        let limit = LOST_PER_WORKER * (room.fast.workers + room.slow.workers);
        if late.len() > limit {
            room.trip(&format!("{} workers did not come back", late.len()));
            return;
        }
        for post in late.iter().filter(|post| !post.replaced.load(Ordering::Acquire)) {
            self.replace(room, post);
        }
    }

    fn replace(self: &Arc<Self>, room: &Arc<Room>, post: &Post) {
        let Some(kind) = post.lane else { return };
        post.replaced.store(true, Ordering::Release);
        room.workers_replaced.fetch_add(1, Ordering::AcqRel);
        tracing::error!(lane = kind.as_str(), busy_ms = ?post.busy_for().map(|busy| busy.as_millis()), "a worker did not come back and is replaced");
        if let Err(error) = self.start_worker(room, kind) {
            room.trip(&error.to_string());
        }
    }
}
