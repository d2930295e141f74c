//! Looking an object up in the token: once, however many callers wait for it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::cache::Entry;
use super::desk::Desk;
use super::errors::HsmError;
use super::lanes::{Job, LaneKind};
use super::objects;
use super::room::Room;
use crate::domain::ids::ObjectId;

const FUNCTION: &str = "C_FindObjects";

type Waiters = Vec<oneshot::Sender<Result<(), HsmError>>>;

/// Searches that are under way, each with those who wait for it. Bounded by the requests that are.
#[derive(Debug, Default)]
pub(super) struct Flights(Mutex<HashMap<ObjectId, Waiters>>);

/// Ends a flight when it is dropped, so that nobody waits for a search that will never end.
struct Flight {
    room: Arc<Room>,
    id: ObjectId,
    result: Result<(), HsmError>,
}

impl Flight {
    fn fly(mut self, start: Result<&mut Desk, HsmError>, deadline: Instant) {
        // What those who wait are told if the search panics.
        self.result = Err(HsmError::Failed { function: FUNCTION, return_value: "the search was interrupted".to_owned(), mechanism: None });
        self.result = start.and_then(|desk| search(desk, self.id, deadline));
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let waiters = self.room.flights.0.lock().remove(&self.id).unwrap_or_default();
        for waiter in waiters {
            drop(waiter.send(self.result.clone()));
        }
    }
}

/// Has the cache learn what the token holds under `id`, waiting until `deadline`. That there is nothing is no error.
pub(super) async fn look_up(room: &Arc<Room>, id: ObjectId, deadline: Instant) -> Result<(), HsmError> {
    let (waiter, answer) = oneshot::channel();
    let first = {
        let mut flights = room.flights.0.lock();
        let waiters = flights.entry(id).or_default();
        waiters.push(waiter);
        waiters.len() == 1
    };
    if first {
        take_off(room, id);
    }
    match tokio::time::timeout_at(deadline.into(), answer).await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) | Err(_) => Err(HsmError::Late { function: FUNCTION }),
    }
}

fn take_off(room: &Arc<Room>, id: ObjectId) {
    let deadline = room.slow_deadline();
    let flight = Flight { room: Arc::clone(room), id, result: Err(HsmError::Busy) };
    let work = Box::new(move |start: Result<&mut Desk, HsmError>| flight.fly(start, deadline));
    let job = Job { deadline, function: FUNCTION, work };
    if let Err(full) = room.lane(LaneKind::Slow).submit(job) {
        // The job is dropped, and its flight with it: those who wait are told.
        tracing::debug!(error = %full, "no room for a search");
    }
}

/// Searches on this thread and tells the cache.
pub(super) fn search(desk: &mut Desk, id: ObjectId, deadline: Instant) -> Result<(), HsmError> {
    let room = Arc::clone(&desk.room);
    let generation = desk.connection.generation;
    let guard = room.objects.acquire(deadline, FUNCTION)?;
    let found = desk.call(|tools| objects::find(&guard, tools.session, id))?;
    if found.is_empty() {
        desk.believe(&format!("that object {id} is absent"))?;
    }
    // Under the lock: what is learned is not older than what a neighbour creates or destroys.
    room.cache.learn(generation, id, Entry::of(found));
    drop(guard);
    Ok(())
}
