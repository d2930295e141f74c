//! The thread that only looks at the time: what hangs in the module can't help itself.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::room::Room;

/// How often it looks.
const INTERVAL: Duration = Duration::from_millis(50);
/// How long taking a connection down or making one may take, beyond the deadline of a slow operation.
const STEP_GRACE: Duration = Duration::from_secs(30);
/// How many slow deadlines the holder of the object lock may keep it.
const HOLD_DEADLINES: u32 = 2;

/// Looks after workers, the object lock and the steward until the room is shut.
pub(super) fn run(room: &Arc<Room>) {
    while !room.ended.load(Ordering::Acquire) {
        std::thread::sleep(INTERVAL);
        let crew = room.crew.lock().clone();
        if let Some(crew) = crew {
            crew.look_after(room);
        }
        if room.objects.held_for().is_some_and(|held| held > room.slow.deadline * HOLD_DEADLINES) {
            room.hand_off("a search, creation or destruction of an object does not come back");
        }
        if room.step.elapsed().is_some_and(|step| step > room.slow.deadline + STEP_GRACE) {
            room.hand_off("the module does not come back while the connection to the token is rebuilt");
        }
    }
}
