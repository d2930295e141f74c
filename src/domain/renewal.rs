//! When certificates are renewed.

use super::clock::Timestamp;

/// Whether a certificate authority should get a successor: when two thirds of its life are over, so that what it issues last still has a
/// third of that to live.
pub fn authority_is_due(made: Timestamp, not_after: Timestamp, now: Timestamp) -> bool {
    let life = not_after.since(made);
    now >= made.plus(life / 3 * 2)
}

/// Whether a server's certificate should be renewed: when a third of its life is left.
pub fn server_certificate_is_due(not_before: Timestamp, not_after: Timestamp, now: Timestamp) -> bool {
    let life = not_after.since(not_before);
    not_after.since(now) <= life / 3
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    #[test]
    fn authorities_are_due_after_two_thirds_of_their_life() {
        let made = Timestamp::from_micros(1_700_000_000_000_000);
        let end = made.plus(DAY * 300);
        for (day, due) in [(0, false), (199, false), (200, true), (300, true), (400, true)] {
            assert_eq!(authority_is_due(made, end, made.plus(DAY * day)), due, "{day}");
        }
    }

    #[test]
    fn server_certificates_are_due_when_a_third_of_their_life_is_left() {
        let from = Timestamp::from_micros(1_700_000_000_000_000);
        let end = from.plus(DAY * 90);
        for (day, due) in [(0, false), (59, false), (60, true), (90, true), (91, true)] {
            assert_eq!(server_certificate_is_due(from, end, from.plus(DAY * day)), due, "{day}");
        }
    }
}
