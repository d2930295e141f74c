//! Whether the clock may be believed by what can't be undone: a clock that is days ahead would destroy what is pending its deletion.
//!
//! Three things are compared with it:
//!
//! - the database server's clock, where there is one. Further from it than [`SKEW_MAX`], in either direction, nothing at all is done by this clock;
//! - the time that went by, as a clock that nobody sets counts it. More than [`JUMP_MAX`] off, it has jumped, at once or in steps: what it was off
//!   from look to look adds up, and is forgiven no faster than clocks drift ([`DRIFT_PARTS`]);
//! - the time at which it was last believed, by any process, before this one started. More than [`GAP_MAX`] after that, nobody can tell a service
//!   that was down from a clock that is ahead.
//!
//! A process that ends while it doubts its clock begins in doubt again: neither a jump is forgotten by a restart.
//!
//! After a jump or a gap nothing is destroyed for [`BELIEVED_AFTER`], so that the clock can be set and what is pending can be restored. If it goes on
//! evenly for that long it is believed.

use std::time::Duration;

use super::clock::Timestamp;

/// How far apart this clock and the database server's may be.
pub const SKEW_MAX: Duration = Duration::from_secs(5 * 60);
/// How much more or less than the time that went by the clock may have gone on, all in all.
pub const JUMP_MAX: Duration = Duration::from_secs(60 * 60);
/// Which part of the time that went by a clock may drift: twice what the slowest correction by NTP makes up for (500 ppm).
pub const DRIFT_PARTS: i64 = 1_000;
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
    /// Whether this node doubted its clock when it was last up; what counts is the first look's.
    pub doubted: bool,
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
    /// How much more than the time that went by the clock went on, in microseconds, less what is forgiven for drift; negative: less.
    off_micros: i64,
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
                self.off_micros = off(self.off_micros, look.after.micros().saturating_sub(time.micros()), look.steady.saturating_sub(steady));
                u128::from(self.off_micros.unsigned_abs()) > JUMP_MAX.as_micros()
            }
            None => {
                self.believed = look.believed.unwrap_or_default();
                look.doubted || look.believed.is_some_and(|believed| look.after.since(believed) > GAP_MAX)
            }
        };
        self.last = Some((look.after, look.steady));
        if jumped {
            // From here on it must go on evenly.
            self.off_micros = 0;
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

    /// Whether it jumped lately, or nobody can tell; also while it is too far from the server's.
    pub const fn is_doubted(&self) -> bool {
        self.jumped.is_some()
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

/// How far off a clock is that was so far off before, and went on by `by_micros` since, while `passed` went by.
fn off(before_micros: i64, by_micros: i64, passed: Duration) -> i64 {
    let passed_micros = i64::try_from(passed.as_micros()).unwrap_or(i64::MAX);
    let forgiven = (passed_micros / DRIFT_PARTS).min(i64::try_from(before_micros.unsigned_abs()).unwrap_or(i64::MAX));
    before_micros.saturating_sub(forgiven * before_micros.signum()).saturating_add(by_micros.saturating_sub(passed_micros))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
            self.watch.look(&Look { before: now, reference, after: now, steady: self.steady, believed, doubted: false })
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
    fn a_doubt_outlasts_a_restart_and_ends_like_any_other() {
        let mut scene = Scene::at(100);
        let now = scene.clock.now();
        let look = Look { before: now, reference: None, after: now, steady: Duration::ZERO, believed: Some(now), doubted: true };
        assert_eq!((scene.watch.look(&look), scene.watch.is_doubted()), (ClockState::Doubted, true));
        scene.time_passes(BELIEVED_AFTER - MINUTE);
        assert_eq!(scene.look(None, None), ClockState::Doubted);
        scene.time_passes(MINUTE);
        assert_eq!((scene.look(None, None), scene.watch.is_doubted()), (ClockState::Right, false));
    }

    #[test]
    fn a_clock_that_drifts_is_right_for_years() {
        for sign in [1, -1] {
            let mut scene = Scene::at(2_000);
            for _ in 0..1_000 {
                scene.time_passes(DAY);
                // A minute a day.
                scene.clock = ManualClock::at(Timestamp::from_micros(scene.clock.now().micros() + sign * 60_000_000));
                assert_eq!(scene.look(None, None), ClockState::Right);
            }
        }
    }

    proptest! {
        /// However a clock is led astray between looks, it is doubted once that adds up to more than a jump and what clocks drift.
        #[test]
        fn steps_that_add_up_are_doubted(steps in proptest::collection::vec((0_u64..7_200, -3_600_i64..=3_600), 1..80), ahead in any::<bool>()) {
            let mut scene = Scene::at(2_000);
            scene.look(None, None);
            let (mut off, mut drift) = (0_i64, 0_i64);
            for (passed_s, step_s) in steps {
                let step_s = if ahead { step_s.max(-600) } else { step_s.min(600) };
                scene.time_passes(Duration::from_secs(passed_s));
                scene.clock = ManualClock::at(Timestamp::from_micros(scene.clock.now().micros() + step_s * 1_000_000));
                off += step_s * 1_000_000;
                drift += i64::try_from(passed_s).expect("seconds") * 1_000_000 / DRIFT_PARTS;
                let state = scene.look(None, None);
                let jump = i64::try_from(JUMP_MAX.as_micros()).expect("an hour");
                if off.abs() > jump + drift {
                    prop_assert_eq!(state, ClockState::Doubted);
                }
                if state == ClockState::Doubted {
                    break;
                }
            }
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
            let look = Look { before, reference: Some(Timestamp::from_micros(reference)), after, steady: DAY, believed: None, doubted: false };
            assert_eq!(look.skew_micros(), Some(skew), "{reference}");
        }
    }
}
