//! What bounds calls into the module before the threads are there that watch it: loading, initializing, logging in.

use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, bounded};

use super::errors::HsmError;
use super::room::HandOff;

/// How long opening, looking for or initialising a token may take: generous, for a network token with very many objects.
pub(super) const START_LIMIT: Duration = Duration::from_secs(120);

/// Runs `body`, which calls the module; after `limit` without its return, hands the process off: a call into the module can't be
/// ended in another way.
pub(super) fn guarded<T>(limit: Duration, what: &'static str, hand_off: &HandOff, body: impl FnOnce() -> Result<T, HsmError>) -> Result<T, HsmError> {
    let (returned, watched) = bounded::<()>(0);
    let hand_off = HandOff::clone(hand_off);
    let watch = move || {
        if watched.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
            hand_off(&format!("{what}: the PKCS#11 module did not come back within {} s", limit.as_secs()));
        }
    };
    let thread = std::thread::Builder::new().name("token-start-watch".to_owned()).spawn(watch);
    thread.map_err(|error| HsmError::Setup(format!("thread token-start-watch: {error}")))?;
    let result = body();
    drop(returned);
    result
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn guard_for(limit: Duration, pause: Duration) -> Option<String> {
        let (told, heard) = bounded(1);
        let hand_off: HandOff = Arc::new(move |reason| drop(told.try_send(reason.to_owned())));
        let answer = guarded(limit, "logging in", &hand_off, || {
            std::thread::sleep(pause);
            Ok(7)
        });
        assert_eq!(answer.expect("an answer"), 7);
        drop(hand_off);
        // The watch drops its clone when it ends.
        heard.recv_timeout(Duration::from_secs(10)).ok()
    }

    #[test]
    fn what_does_not_come_back_is_handed_off() {
        let told = guard_for(Duration::from_millis(20), Duration::from_millis(500)).expect("a hand-off");
        assert!(told.contains("logging in") && told.contains("did not come back"), "{told}");
    }

    #[test]
    fn what_comes_back_in_time_is_not() {
        assert_eq!(guard_for(Duration::from_secs(60), Duration::ZERO), None);
    }
}
