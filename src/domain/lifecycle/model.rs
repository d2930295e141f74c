//! A key as the store keeps it, carried through any sequence of what may be asked of it, with what the token and the reconciler do in between.

use proptest::prelude::*;

use super::*;
use crate::domain::ids::{KeyId, KeyStoreId, ObjectId};
use crate::domain::key::{Material, RotationPeriod, Stamp};
use crate::domain::text::{Description, Name};

/// What happens to the model.
#[derive(Debug, Clone, Copy)]
enum Step {
    Asked(Command),
    /// The version under way is in the token.
    RotationMade,
    /// The making of the version under way failed, or its lease ended.
    RotationAbandoned,
    /// An object of what is being destroyed is out of the token.
    OneGone,
}

#[derive(Debug, Clone)]
struct Model {
    key: Key,
    /// All there ever were: those that are destroyed too, which the store keeps for the audit.
    versions: Vec<Version>,
}

fn stamp() -> Stamp {
    Stamp { user: "somebody".to_owned(), at: Timestamp::default() }
}

fn number(index: u32) -> KeyVersion {
    KeyVersion::new(index).expect("a small number")
}

fn version(index: u32, state: State, origin: Origin) -> Version {
    let material = Material::Token { object: ObjectId::from_bytes([0; 16]), public_key: None };
    Version { version: number(index), state, origin, material, deletion: None, created: stamp() }
}

impl Model {
    fn new(kind: KeyKind, origin: Origin) -> Self {
        let key = Key {
            id: KeyId::from_bytes([1; 16]),
            key_store: KeyStoreId(1),
            kind,
            name: Name::from_stored("a key".to_owned()),
            description: Description::default(),
            state: State::Active,
            current_version: KeyVersion::FIRST,
            rotation: RotationPeriod::NEVER,
            next_rotation: None,
            deletion: None,
            created: stamp(),
            changed: stamp(),
        };
        Self { key, versions: vec![version(0, State::Active, origin)] }
    }

    /// The versions that the store reads.
    fn read(&self) -> Vec<Version> {
        self.versions.iter().filter(|version| version.state != State::Destroyed).cloned().collect()
    }

    fn states(&self) -> Vec<State> {
        self.versions.iter().map(|version| version.state).collect()
    }

    fn find(&mut self, wanted: KeyVersion) -> &mut Version {
        self.versions.iter_mut().find(|version| version.version == wanted).expect("a version that was permitted")
    }

    fn under_way(&mut self) -> Option<&mut Version> {
        self.versions.iter_mut().find(|version| version.state == State::Provisioning)
    }

    fn ask(&mut self, command: Command) -> Result<(), ResultCode> {
        permit(&self.key, &self.read(), command)?;
        let of_key = |event| next(self.key.state, event).expect("what is permitted is legal");
        match command {
            Command::Change => {}
            Command::Rotate => {
                let following = u32::try_from(self.versions.len()).expect("few versions");
                self.versions.push(version(following, State::Provisioning, Origin::Generated));
            }
            Command::RequestDeletion => self.key.state = of_key(Event::DeletionRequested),
            Command::Restore => self.key.state = of_key(Event::Restored),
            Command::Destroy => {
                self.key.state = of_key(Event::Destroy);
                for version in &mut self.versions {
                    version.state = next(version.state, Event::OwnerDestroyed).unwrap_or(version.state);
                }
            }
            Command::RequestVersionDeletion(version) => self.move_version(version, Event::DeletionRequested),
            Command::RestoreVersion(version) => self.move_version(version, Event::Restored),
            Command::DestroyVersion(version) => self.move_version(version, Event::Destroy),
        }
        Ok(())
    }

    fn move_version(&mut self, wanted: KeyVersion, event: Event) {
        let version = self.find(wanted);
        version.state = next(version.state, event).expect("what is permitted is legal");
    }

    fn step(&mut self, step: Step) -> Result<(), ResultCode> {
        match step {
            Step::Asked(command) => return self.ask(command),
            Step::RotationMade => {
                let in_service = is_in_service(&self.key);
                let Some(version) = self.under_way() else { return Ok(()) };
                // As `finish_rotation` looks once more: a key that is no longer in service goes on with what it has.
                let event = if in_service.is_ok() { Event::Provisioned } else { Event::Abandoned };
                version.state = next(version.state, event).expect("a legal end of a making");
                let (state, made) = (version.state, version.version);
                if state == State::Active {
                    self.key.current_version = made;
                }
            }
            Step::RotationAbandoned => {
                if let Some(version) = self.under_way() {
                    version.state = next(version.state, Event::Abandoned).expect("a legal end of a making");
                }
            }
            Step::OneGone => {
                if let Some(version) = self.versions.iter_mut().find(|version| version.state == State::Destroying) {
                    version.state = next(version.state, Event::Gone).expect("the end");
                }
                if self.key.state == State::Destroying && self.versions.iter().all(|version| version.state == State::Destroyed) {
                    self.key.state = next(self.key.state, Event::Gone).expect("the end");
                }
            }
        }
        Ok(())
    }

    /// Whether a request may use a version, by the rules that requests go by.
    fn may_use(&self, wanted: KeyVersion) -> Result<(), ResultCode> {
        if !self.key.state.is_visible() {
            return Err(ResultCode::InvalidKeyId);
        }
        is_in_service(&self.key)?;
        may_use_version(self.read().iter().find(|version| version.version == wanted).map(|version| version.state))
    }
}

fn steps() -> impl Strategy<Value = Step> {
    let version = (0_u32..6).prop_map(number);
    prop_oneof![
        3 => Just(Step::Asked(Command::Rotate)),
        4 => Just(Step::RotationMade),
        1 => Just(Step::RotationAbandoned),
        2 => Just(Step::OneGone),
        1 => Just(Step::Asked(Command::Change)),
        1 => Just(Step::Asked(Command::RequestDeletion)),
        2 => Just(Step::Asked(Command::Restore)),
        1 => Just(Step::Asked(Command::Destroy)),
        3 => version.clone().prop_map(|version| Step::Asked(Command::RequestVersionDeletion(version))),
        2 => version.clone().prop_map(|version| Step::Asked(Command::RestoreVersion(version))),
        2 => version.prop_map(|version| Step::Asked(Command::DestroyVersion(version))),
    ]
}

/// What must hold whatever has happened.
fn check(model: &Model) -> Result<(), TestCaseError> {
    let current = model.versions.iter().find(|version| version.version == model.key.current_version).expect("a current version");
    if matches!(model.key.state, State::Active | State::PendingDeletion) {
        prop_assert_eq!(current.state, State::Active, "the current version lives as long as its key");
    }
    prop_assert_eq!(model.may_use(current.version).is_ok(), model.key.state == State::Active);
    prop_assert!(model.versions.windows(2).all(|pair| pair[0].version < pair[1].version), "numbers only grow");
    prop_assert!(model.versions.iter().filter(|version| version.state == State::Provisioning).count() <= 1, "one rotation at a time");
    for version in &model.versions {
        let usable = model.key.state == State::Active && version.state == State::Active;
        prop_assert_eq!(model.may_use(version.version).is_ok(), usable, "{:?}", version);
    }
    Ok(())
}

/// What must hold from one moment to the next.
fn compare(before: &Model, after: &Model, step: Step) -> Result<(), TestCaseError> {
    prop_assert!(after.key.current_version >= before.key.current_version);
    prop_assert!(after.versions.len() >= before.versions.len(), "rows stay for the audit");
    if before.key.state == State::Destroyed {
        prop_assert_eq!(after.key.state, State::Destroyed);
    }
    if !matches!(before.key.state, State::Destroying | State::Destroyed) && matches!(after.key.state, State::Destroying | State::Destroyed) {
        prop_assert_eq!(before.key.state, State::PendingDeletion, "no key is destroyed that wasn't pending");
    }
    for (old, new) in before.versions.iter().zip(&after.versions) {
        if old.state == State::Destroyed {
            prop_assert_eq!(new.state, State::Destroyed);
        }
        let was_usable = matches!(old.state, State::Active | State::PendingDeletion);
        if was_usable && matches!(new.state, State::Destroying | State::Destroyed) {
            prop_assert!(old.state == State::PendingDeletion || before.key.state == State::PendingDeletion, "{old:?} by {step:?}");
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn a_key_lives_by_the_rules_whatever_is_asked(steps in proptest::collection::vec(steps(), 0..60)) {
        let mut model = Model::new(KeyKind::Symmetric, Origin::Generated);
        let mut when_asked_to_be_deleted = None;
        for step in steps {
            let before = model.clone();
            if model.step(step).is_err() {
                prop_assert_eq!((before.key.state, before.states()), (model.key.state, model.states()), "a refusal changes nothing");
                continue;
            }
            check(&model)?;
            compare(&before, &model, step)?;
            match step {
                Step::Asked(Command::RequestDeletion) => when_asked_to_be_deleted = Some((before.key.current_version, before.states())),
                // What was being made or destroyed meanwhile comes to its end whether or not its key is pending.
                Step::RotationMade | Step::RotationAbandoned | Step::OneGone if model.key.state == State::PendingDeletion => {
                    when_asked_to_be_deleted = Some((model.key.current_version, model.states()));
                }
                Step::Asked(Command::Restore) => {
                    let was = when_asked_to_be_deleted.take();
                    prop_assert_eq!(was, Some((model.key.current_version, model.states())), "restored to what it was");
                }
                _ => {}
            }
        }
    }

    #[test]
    fn what_came_from_outside_and_confidential_data_never_get_a_version(steps in proptest::collection::vec(steps(), 0..30), secret in any::<bool>()) {
        let mut model = if secret { Model::new(KeyKind::Secret, Origin::Generated) } else { Model::new(KeyKind::Symmetric, Origin::Imported) };
        for step in steps {
            let outcome = model.step(step);
            if matches!(step, Step::Asked(Command::Rotate)) {
                prop_assert!(matches!(outcome, Err(ResultCode::KeyNotRotatable | ResultCode::InvalidKeyId)), "{outcome:?}");
            }
            prop_assert_eq!(model.versions.len(), 1);
            check(&model)?;
        }
    }

    #[test]
    fn every_refusal_says_why(steps in proptest::collection::vec(steps(), 0..60)) {
        let mut model = Model::new(KeyKind::Asymmetric, Origin::Generated);
        for step in steps {
            let before = model.clone();
            let Err(code) = model.step(step) else { continue };
            let expected = match (before.key.state, step) {
                (State::Provisioning | State::Destroying | State::Destroyed, _) => ResultCode::InvalidKeyId,
                (State::PendingDeletion, _) | (State::Active, Step::Asked(Command::Restore | Command::Destroy)) => ResultCode::InvalidKeyStatus,
                (State::Active, Step::Asked(Command::Rotate)) => ResultCode::Conflict,
                (
                    State::Active,
                    Step::Asked(Command::RequestVersionDeletion(wanted) | Command::RestoreVersion(wanted) | Command::DestroyVersion(wanted)),
                ) => match before.versions.iter().find(|version| version.version == wanted) {
                    Some(version) if version.version == before.key.current_version => ResultCode::CurrentKeyVersion,
                    Some(version) if version.state.is_visible() => ResultCode::InvalidKeyVersionStatus,
                    Some(_) | None => ResultCode::InvalidKeyVersion,
                },
                (State::Active, _) => return Err(TestCaseError::fail(format!("{step:?} was refused: {code:?}"))),
            };
            prop_assert_eq!(code, expected, "{:?}", step);
        }
    }
}
