//! Whether the clock may be believed by what can't be undone: a clock that is days ahead would destroy what is pending its deletion.
//!
//! Three things are compared with it:
//!
//! - the database server's clock, where there is one. Further from it than [`SKEW_MAX`], in either direction, nothing at all is done by this clock;
//! - the time that went by since it was last looked at, as a clock that nobody sets counts it. More than [`JUMP_MAX`] off, it has jumped;
//! - the time at which it was last believed, by any process, before this one started. More than [`GAP_MAX`] after that, nobody can tell a service
//!   that was down from a clock that is ahead.
//!
//! After a jump or a gap nothing is destroyed for [`BELIEVED_AFTER`], so that the clock can be set and what is pending can be restored. If it goes on
//! evenly for that long it is believed.

use std::time::Duration;

use super::clock::Timestamp;

/// How far apart this clock and the database server's may be.
pub const SKEW_MAX: Duration = Duration::from_secs(5 * 60);
/// How much more or less than the time that went by the clock may have gone on.
pub const JUMP_MAX: Duration = Duration::from_secs(60 * 60);
/// How long nobody may have believed the clock before it is doubted at the start.
pub const GAP_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a clock that jumped must go on evenly.
pub const BELIEVED_AFTER: Duration = Duration::from_secs(60 * 60);

/// What is thought of the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClockState {
    /// It may be believed.
    #[default]
    Right,
    /// It jumped, or the service was down for long: nothing is destroyed for a while.
    Doubted,
    /// It and the database server's clock are too far apart.
    Skewed,
}

impl ClockState {
    /// As it is shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Right => "right",
            Self::Doubted => "doubted",
            Self::Skewed => "skewed",
        }
    }
}

/// One look at the clock.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// The time before the database server was asked.
    pub before: Timestamp,
    /// The database server's time, where it has a clock of its own.
    pub reference: Option<Timestamp>,
    /// The time after that.
    pub after: Timestamp,
    /// The time of a clock that nobody sets, counted from anywhere.
    pub steady: Duration,
    /// When any process last believed its clock; what counts is the first look's.
    pub believed: Option<Timestamp>,
}

impl Look {
    /// How far this clock is ahead of the server's, in microseconds; negative: behind. The answer took its time: whatever that allows is right.
    fn skew_micros(&self) -> Option<i64> {
        let reference = self.reference?.micros();
        let (ahead, behind) = (self.before.micros().saturating_sub(reference), self.after.micros().saturating_sub(reference));
        Some(if ahead > 0 { ahead } else { behind.min(0) })
    }
}

/// What was seen of the clock.
#[derive(Debug, Default)]
pub struct ClockWatch {
    /// The last look: the time, and the steady clock's.
    last: Option<(Timestamp, Duration)>,
    /// When, by the steady clock, it was last found to have jumped.
    jumped: Option<Duration>,
    skew_micros: Option<i64>,
    state: ClockState,
    /// The latest time that anybody is known to have believed at the start.
    believed: Timestamp,
}

impl ClockWatch {
    /// Takes a look; answers what is thought of the clock now.
    pub fn look(&mut self, look: &Look) -> ClockState {
        let jumped = match self.last {
            Some((time, steady)) => {
                let expected = time.plus(look.steady.saturating_sub(steady));
                look.after.since(expected).max(expected.since(look.after)) > JUMP_MAX
            }
            None => {
                self.believed = look.believed.unwrap_or_default();
                look.believed.is_some_and(|believed| look.after.since(believed) > GAP_MAX)
            }
        };
        self.last = Some((look.after, look.steady));
        if jumped {
            self.jumped = Some(look.steady);
        }
        self.jumped = self.jumped.filter(|at| look.steady.saturating_sub(*at) < BELIEVED_AFTER);
        self.skew_micros = look.skew_micros();
        let is_skewed = self.skew_micros.is_some_and(|skew| u128::from(skew.unsigned_abs()) > SKEW_MAX.as_micros());
        self.state = match (is_skewed, self.jumped) {
            (true, _) => ClockState::Skewed,
            (false, Some(_)) => ClockState::Doubted,
            (false, None) => ClockState::Right,
        };
        self.state
    }

    /// What was thought of the clock at the last look.
    pub const fn state(&self) -> ClockState {
        self.state
    }

    /// How far this clock was ahead of the database server's at the last look, in microseconds.
    pub const fn skew_micros(&self) -> Option<i64> {
        self.skew_micros
    }

    /// The database server's time when this clock says `now`, or that where there is no other: what nodes tell each other in seconds, such as until
    /// when one is at work on something, they tell in it.
    pub fn agreed(&self, now: Timestamp) -> Timestamp {
        Timestamp::from_micros(now.micros().saturating_sub(self.skew_micros.unwrap_or(0)))
    }

    /// The latest that the time may be when this clock says `now`: what is to come some days from now comes too late by a clock that is ahead, and
    /// never too early by one that is behind.
    pub fn latest(&self, now: Timestamp) -> Timestamp {
        let behind = self.skew_micros.map_or(0, |skew| skew.min(0).saturating_neg());
        Timestamp::from_micros(now.micros().saturating_add(behind)).max(self.believed)
    }
}

#[cfg(test)]
mod tests {
    use super::super::clock::{Clock as _, ManualClock};
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);
    const MINUTE: Duration = Duration::from_secs(60);

    /// A clock that is moved, beside one that nobody sets.
    #[derive(Default)]
    struct Scene {
        clock: ManualClock,
        steady: Duration,
        watch: ClockWatch,
    }

    impl Scene {
        fn at(day: u32) -> Self {
            let scene = Self::default();
            scene.clock.advance(DAY * day);
            scene
        }

        fn time_passes(&mut self, by: Duration) {
            self.clock.advance(by);
            self.steady += by;
        }

        fn look(&mut self, reference: Option<Timestamp>, believed: Option<Timestamp>) -> ClockState {
            let now = self.clock.now();
            self.watch.look(&Look { before: now, reference, after: now, steady: self.steady, believed })
        }
    }

    #[test]
    fn a_clock_that_goes_on_evenly_is_right_however_slowly_it_is_looked_at() {
        let mut scene = Scene::at(100);
        for pause in [Duration::ZERO, MINUTE, DAY, 30 * DAY] {
            scene.time_passes(pause);
            assert_eq!(scene.look(None, None), ClockState::Right);
        }
        scene.clock.advance(JUMP_MAX);
        assert_eq!(scene.look(None, None), ClockState::Right, "as far as it may");
    }

    #[test]
    fn a_jump_in_either_direction_is_doubted_until_it_has_gone_on_evenly() {
        for back in [false, true] {
            let mut scene = Scene::at(100);
            assert_eq!(scene.look(None, None), ClockState::Right);
            if back {
                scene.clock = ManualClock::at(scene.clock.now().minus(8 * DAY));
            } else {
                scene.clock.advance(8 * DAY);
            }
            assert_eq!(scene.look(None, None), ClockState::Doubted);
            scene.time_passes(BELIEVED_AFTER - MINUTE);
            assert_eq!(scene.look(None, None), ClockState::Doubted);
            // Another one: it all begins again.
            scene.clock.advance(JUMP_MAX + MINUTE);
            assert_eq!(scene.look(None, None), ClockState::Doubted);
            scene.time_passes(BELIEVED_AFTER - MINUTE);
            assert_eq!(scene.look(None, None), ClockState::Doubted);
            scene.time_passes(MINUTE);
            assert_eq!(scene.look(None, None), ClockState::Right);
        }
    }

    #[test]
    fn a_long_gap_before_the_start_is_doubted() {
        for (days, state) in [(99, ClockState::Right), (100, ClockState::Right), (98, ClockState::Doubted), (130, ClockState::Right)] {
            let mut scene = Scene::at(100);
            let believed = ManualClock::at(Timestamp::default().plus(DAY * days)).now();
            assert_eq!(scene.look(None, Some(believed)), state, "{days}");
            // What was believed later on doesn't matter.
            assert_eq!(scene.look(None, Some(Timestamp::default())), state, "{days}");
            assert_eq!(scene.watch.latest(scene.clock.now()), scene.clock.now().max(believed));
        }
        let mut first = Scene::at(100);
        assert_eq!(first.look(None, None), ClockState::Right, "a first start");
        assert_eq!(first.watch.agreed(first.clock.now()), first.clock.now());
    }

    #[test]
    fn too_far_from_the_servers_clock_is_skewed() {
        let mut scene = Scene::at(100);
        let now = scene.clock.now();
        let second = Duration::from_secs(1);
        for (reference, state, latest) in [
            (now, ClockState::Right, now),
            (now.minus(SKEW_MAX), ClockState::Right, now),
            (now.minus(SKEW_MAX + second), ClockState::Skewed, now),
            (now.minus(8 * DAY), ClockState::Skewed, now),
            (now.plus(SKEW_MAX), ClockState::Right, now.plus(SKEW_MAX)),
            (now.plus(8 * DAY), ClockState::Skewed, now.plus(8 * DAY)),
        ] {
            assert_eq!(scene.look(Some(reference), None), state, "{reference:?}");
            assert_eq!(scene.watch.latest(now), latest, "{reference:?}");
            assert_eq!(scene.watch.skew_micros(), Some(now.micros() - reference.micros()));
            assert_eq!(scene.watch.agreed(now), reference);
        }
        assert_eq!(scene.look(Some(now), None), ClockState::Right, "set right");
    }

    #[test]
    fn a_server_that_answers_late_is_not_blamed() {
        let (before, after) = (Timestamp::from_micros(0), Timestamp::default().plus(DAY));
        for (reference, skew) in [(0, 0), (5, 0), (after.micros(), 0), (-7, 7), (after.micros() + 7, -7)] {
            let look = Look { before, reference: Some(Timestamp::from_micros(reference)), after, steady: DAY, believed: None };
            assert_eq!(look.skew_micros(), Some(skew), "{reference}");
        }
    }
}
