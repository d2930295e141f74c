//! The two queues between callers and workers: one for fast operations, one for making and finding keys.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::desk::Desk;
use super::errors::HsmError;

/// Which queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LaneKind {
    Fast,
    Slow,
}

impl LaneKind {
    pub(super) const ALL: [Self; 2] = [Self::Fast, Self::Slow];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Slow => "slow",
        }
    }
}

/// Whether a job is to run, or why not.
pub(super) type Start<'a> = Result<&'a mut Desk, HsmError>;

/// Work for a worker. Its closure is called exactly once, with a desk or with the reason why there is none.
pub(super) struct Job {
    pub(super) deadline: Instant,
    pub(super) function: &'static str,
    pub(super) work: Box<dyn FnOnce(Start<'_>) + Send>,
}

impl Job {
    /// Runs the job, unless it is late already.
    pub(super) fn run(self, desk: &mut Desk) {
        if Instant::now() < self.deadline {
            (self.work)(Ok(desk));
        } else {
            (self.work)(Err(HsmError::Late { function: self.function }));
        }
    }

    pub(super) fn refuse(self, reason: HsmError) {
        (self.work)(Err(reason));
    }
}

/// A function whose calls take less than this on average is brisk: waking another worker costs as much as some of its calls.
const BRISK: Duration = Duration::from_micros(50);
/// What one call counts for at most in that average: a call during which the thread didn't run says nothing about the function.
const COUNTED_MAX: Duration = Duration::from_micros(200);
/// How many jobs may wait for each worker that is at a brisk call, before another worker is woken for them.
const LEFT_TO_THE_BRISK: usize = 4;

/// Whether a worker that asks for a job may wait for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// Until there is one.
    Wait,
    /// It takes what is there.
    Finish,
    /// It takes nothing more.
    Leave,
}

/// A worker's time with a job, from taking it until it asks for the next.
#[derive(Debug)]
pub(super) struct Turn {
    function: &'static str,
    began: Instant,
    /// Under which epoch it is counted as brisk.
    brisk: Option<u64>,
}

/// A bounded queue of jobs, and the workers that wait at it.
///
/// Every thread that is woken for an operation of 10 µs costs more than the operation. So one is woken only where those at work
/// won't come round at once: where none is at a brisk call, or more than a few jobs wait. A worker that takes a job and leaves
/// too many behind wakes the next.
#[derive(Debug)]
pub(super) struct Lane {
    /// How long a job may take, waiting included.
    pub(super) deadline: Duration,
    pub(super) workers: usize,
    limit: usize,
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    jobs: VecDeque<Job>,
    /// Workers that wait.
    idle: usize,
    /// One of them was woken and has not come yet.
    waking: bool,
    /// Workers at a brisk call.
    brisk: usize,
    /// Changes when `brisk` starts at 0 again.
    epoch: u64,
    /// How long a call of each function takes, in nanoseconds: an average over the last ones.
    takes: Vec<(&'static str, u64)>,
}

impl Queue {
    fn needs_another(&self) -> bool {
        self.idle > 0 && !self.waking && !self.jobs.is_empty() && self.jobs.len() > self.brisk * LEFT_TO_THE_BRISK
    }

    fn begin(&mut self, function: &'static str) -> Turn {
        let brisk = self.takes.iter().any(|(known, nanos)| *known == function && Duration::from_nanos(*nanos) < BRISK);
        self.brisk += usize::from(brisk);
        Turn { function, began: Instant::now(), brisk: brisk.then_some(self.epoch) }
    }

    fn end(&mut self, turn: &Turn) {
        if turn.brisk == Some(self.epoch) {
            self.brisk = self.brisk.saturating_sub(1);
        }
        let took = u64::try_from(turn.began.elapsed().min(COUNTED_MAX).as_nanos()).unwrap_or(u64::MAX);
        match self.takes.iter_mut().find(|(known, _)| *known == turn.function) {
            Some((_, nanos)) => *nanos = (*nanos * 15 + took) / 16,
            // As many as there are functions of PKCS#11 that we call.
            None => self.takes.push((turn.function, took)),
        }
    }
}

impl Lane {
    pub(super) fn new(workers: usize, limit: usize, deadline: Duration) -> Self {
        Self { deadline, workers, limit, queue: Mutex::default(), changed: Condvar::new() }
    }

    /// Queues a job, if there is room.
    pub(super) fn submit(&self, job: Job) -> Result<(), HsmError> {
        let mut queue = self.queue.lock();
        if queue.jobs.len() >= self.limit {
            return Err(HsmError::Busy);
        }
        queue.jobs.push_back(job);
        self.wake_if_needed(queue);
        Ok(())
    }

    fn wake_if_needed(&self, mut queue: MutexGuard<'_, Queue>) {
        if queue.needs_another() {
            queue.waking = true;
            drop(queue);
            self.changed.notify_one();
        }
    }

    /// Ends the worker's last turn and begins the next; `None` when it is time for the worker to end.
    pub(super) fn next(&self, last: Option<&Turn>, patience: impl Fn() -> Patience) -> Option<(Job, Turn)> {
        let mut queue = self.queue.lock();
        if let Some(turn) = last {
            queue.end(turn);
        }
        loop {
            let patience = patience();
            let job = if patience == Patience::Leave { None } else { queue.jobs.pop_front() };
            if let Some(job) = job {
                let turn = queue.begin(job.function);
                self.wake_if_needed(queue);
                return Some((job, turn));
            }
            if patience != Patience::Wait {
                self.wake_if_needed(queue);
                return None;
            }
            queue.idle += 1;
            self.changed.wait(&mut queue);
            queue.idle -= 1;
            queue.waking = false;
        }
    }

    /// Ends a worker's last turn.
    pub(super) fn end(&self, turn: &Turn) {
        self.queue.lock().end(turn);
    }

    /// Has all who wait look again at whether they should.
    pub(super) fn wake_all(&self) {
        // Under the lock: nobody is between looking and waiting.
        let queue = self.queue.lock();
        self.changed.notify_all();
        drop(queue);
    }

    /// Called now and then: jobs that were left to a worker whose call doesn't return get another one.
    pub(super) fn look_after(&self) {
        let mut queue = self.queue.lock();
        queue.epoch += 1;
        (queue.brisk, queue.waking) = (0, false);
        self.wake_if_needed(queue);
    }

    pub(super) fn queued(&self) -> usize {
        self.queue.lock().jobs.len()
    }

    /// Answers everything that waits with `reason`.
    pub(super) fn refuse_all(&self, reason: &HsmError) {
        // What is submitted meanwhile is met by the breaker.
        let jobs = std::mem::take(&mut self.queue.lock().jobs);
        for job in jobs {
            job.refuse(reason.clone());
        }
    }
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job").field("function", &self.function).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc;

    use super::*;

    fn job(function: &'static str) -> Job {
        Job { deadline: Instant::now() + Duration::from_secs(60), function, work: Box::new(|_| {}) }
    }

    fn lane(limit: usize) -> Arc<Lane> {
        Arc::new(Lane::new(2, limit, Duration::from_secs(1)))
    }

    /// A worker that tells when it was woken for a job, and takes one only.
    fn waiting_worker(lane: &Arc<Lane>) -> mpsc::Receiver<&'static str> {
        let (told, tells) = mpsc::channel();
        let (waits, before) = (Arc::clone(lane), lane.queue.lock().idle);
        std::thread::spawn(move || told.send(waits.next(None, || Patience::Wait).map_or("nothing", |(job, _)| job.function)));
        while lane.queue.lock().idle == before {
            std::thread::yield_now();
        }
        tells
    }

    const SOON: Duration = Duration::from_secs(5);
    const NOT_YET: Duration = Duration::from_millis(30);

    /// Has the lane know `function` as a brisk one, and a worker at it.
    fn at_brisk_call(lane: &Lane, function: &'static str) -> Turn {
        lane.queue.lock().takes.push((function, 10_000));
        lane.submit(job(function)).unwrap();
        lane.next(None, || Patience::Finish).unwrap().1
    }

    #[test]
    fn a_full_lane_takes_nothing() {
        let lane = lane(2);
        assert!(lane.submit(job("a")).is_ok() && lane.submit(job("b")).is_ok());
        assert!(matches!(lane.submit(job("c")), Err(HsmError::Busy)));
        assert_eq!(lane.queued(), 2);
        lane.refuse_all(&HsmError::Busy);
        assert_eq!(lane.queued(), 0);
    }

    #[test]
    fn a_job_wakes_a_worker_unless_it_is_left_to_one_at_a_brisk_call() {
        let lane = lane(100);
        let first = waiting_worker(&lane);
        lane.submit(job("long")).unwrap();
        assert_eq!(first.recv_timeout(SOON), Ok("long"));
        let turn = at_brisk_call(&lane, "short");
        let second = waiting_worker(&lane);
        for _ in 0..LEFT_TO_THE_BRISK {
            lane.submit(job("short")).unwrap();
        }
        assert!(second.recv_timeout(NOT_YET).is_err());
        lane.submit(job("short")).unwrap();
        assert_eq!(second.recv_timeout(SOON), Ok("short"));
        lane.end(&turn);
    }

    #[test]
    fn a_call_that_does_not_return_keeps_no_job_waiting() {
        let lane = lane(100);
        let _stuck = at_brisk_call(&lane, "short");
        let worker = waiting_worker(&lane);
        lane.submit(job("short")).unwrap();
        assert!(worker.recv_timeout(NOT_YET).is_err());
        lane.look_after();
        assert_eq!(worker.recv_timeout(SOON), Ok("short"));
    }

    #[test]
    fn a_worker_that_begins_a_long_call_has_another_take_what_it_leaves() {
        let lane = lane(100);
        let brisk = at_brisk_call(&lane, "short");
        let worker = waiting_worker(&lane);
        lane.submit(job("long")).unwrap();
        lane.submit(job("short")).unwrap();
        assert!(worker.recv_timeout(NOT_YET).is_err());
        let (taken, _turn) = lane.next(Some(&brisk), || Patience::Finish).unwrap();
        assert_eq!((taken.function, worker.recv_timeout(SOON)), ("long", Ok("short")));
    }

    #[test]
    fn who_waits_is_told_to_leave() {
        let lane = lane(1);
        let leave = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let (waits, told) = (Arc::clone(&lane), Arc::clone(&leave));
        let patience = move || if told.load(std::sync::atomic::Ordering::Acquire) { Patience::Leave } else { Patience::Wait };
        let worker = std::thread::spawn(move || waits.next(None, patience).is_none());
        leave.store(true, std::sync::atomic::Ordering::Release);
        lane.wake_all();
        assert!(worker.join().unwrap());
    }

    #[test]
    fn one_call_that_was_interrupted_makes_no_function_long() {
        let mut queue = Queue { takes: vec![("short", 12_000)], ..Queue::default() };
        let turn = Turn { function: "short", began: Instant::now().checked_sub(Duration::from_secs(1)).unwrap(), brisk: None };
        queue.end(&turn);
        assert!(queue.begin("short").brisk.is_some());
        (0..10).for_each(|_| queue.end(&turn));
        assert!(queue.begin("short").brisk.is_none());
    }
}
