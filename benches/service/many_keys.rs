//! Many keys, made directly: objects in the token by one session after the other, rows through the store's own door. By the API each
//! would take some 40 ms on a disk.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use cryptoki::mechanism::Mechanism;
use cryptoki::object::Attribute;
use skm::cli::configuration;
use skm::domain::appkey::Appkey;
use skm::domain::clock::{Clock as _, SystemClock, Timestamp};
use skm::domain::ids::{KeyId, KeyStoreId, KeyVersion, ObjectId, ProjectId};
use skm::domain::key::{KeyKind, Origin, RotationPeriod, Stamp};
use skm::domain::text::{Description, Name};
use skm::store::{NewKey, PlannedObject, Store, StoreError, Tx};

use crate::Problem;
use crate::installation::Installation;
use crate::raw_token;

/// Rows that are inserted in one transaction.
const ROWS_AT_ONCE: usize = 250;
/// The first bytes of the IDs that are made here; the number follows.
const KEY_MARK: u8 = 0x5e;
const OBJECT_MARK: u8 = 0x0b;

/// Makes AES-256 keys number `first` to `end` in the demo's key store; answers their IDs. The service isn't running.
pub(crate) fn make(installation: &Installation, first: usize, end: usize) -> Result<Vec<String>, Problem> {
    let aside = InMemory::move_tokens(installation)?;
    let (appkey, like) = (installation.demo("APPKEY")?, installation.demo("SYMMETRIC_ID")?);
    let output = installation.inside(&["keys", appkey, like, &first.to_string(), &end.to_string()])?.output()?;
    aside.move_back()?;
    if !output.status.success() {
        return Err(format!("keys could not be made: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(String::from_utf8(output.stdout)?.lines().map(str::to_owned).collect())
}

/// The token's directory, in memory for as long as objects are made: SoftHSM2 takes 32 ms for each on ext4, 0.4 ms there.
struct InMemory {
    real: PathBuf,
    temporary: Option<tempfile::TempDir>,
}

impl InMemory {
    fn move_tokens(installation: &Installation) -> Result<Self, Problem> {
        let real = installation.directory.join("tokens");
        let memory = Path::new("/dev/shm");
        if !memory.is_dir() {
            return Ok(Self { real, temporary: None });
        }
        let temporary = tempfile::Builder::new().prefix("skm-bench-").tempdir_in(memory)?;
        let there = temporary.path().join("tokens");
        copy(&real, &there)?;
        fs::remove_dir_all(&real)?;
        symlink(&there, &real)?;
        Ok(Self { real, temporary: Some(temporary) })
    }

    fn move_back(self) -> Result<(), Problem> {
        let Some(temporary) = self.temporary else { return Ok(()) };
        fs::remove_file(&self.real)?;
        copy(&temporary.path().join("tokens"), &self.real)
    }
}

fn copy(from: &Path, to: &Path) -> Result<(), Problem> {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status()?;
    if status.success() { Ok(()) } else { Err(format!("cp -a {} {}: {status}", from.display(), to.display()).into()) }
}

/// Inside its process.
pub(crate) fn inside(arguments: &[&str]) -> Result<(), Problem> {
    let [appkey, like, first, end, file] = arguments else { return Err("keys APPKEY LIKE FIRST END CONFIGURATION".into()) };
    let numbers = first.parse::<u64>()?..end.parse::<u64>()?;
    let token = raw_token::log_in(file)?;
    for number in numbers.clone() {
        token.guard.generate_key(&Mechanism::AesKeyGen, &template(number))?;
    }
    let config = skm::config::Config::load(Path::new(file)).map_err(|problems| format!("{problems:?}"))?;
    let settings = configuration::store_settings(&config).map_err(|failure| format!("{failure:?}"))?;
    let store = Store::open(&settings, Arc::new(SystemClock))?;
    let (appkey, like): (Appkey, KeyId) = (Appkey::parse(appkey).ok_or("no appkey")?, like.parse().map_err(|_| "no key ID")?);
    let numbers: Vec<u64> = numbers.collect();
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        for some in numbers.chunks(ROWS_AT_ONCE) {
            let (some, appkey) = (some.to_vec(), appkey.clone());
            store.change(move |tx| insert_rows(tx, &appkey, like, &some)).await?;
        }
        Ok::<(), StoreError>(())
    })?;
    if !store.shut_down(Duration::from_secs(10)) {
        return Err("the store did not shut down".into());
    }
    numbers.iter().for_each(|number| println!("{}", key_id(*number)));
    Ok(())
}

fn insert_rows(tx: &mut Tx<'_>, appkey: &Appkey, like: KeyId, numbers: &[u64]) -> Result<(), StoreError> {
    let project = tx.project_by_appkey(appkey)?.ok_or(StoreError::Stale { what: "project" })?;
    let (_, row) = tx.key(like)?.ok_or(StoreError::Stale { what: "key" })?;
    let now = SystemClock.now();
    numbers.iter().try_for_each(|number| insert_row(tx, project.id, row.key.key_store, *number, now))
}

fn insert_row(tx: &mut Tx<'_>, project: ProjectId, key_store: KeyStoreId, number: u64, now: Timestamp) -> Result<(), StoreError> {
    let object = PlannedObject {
        object: ObjectId::from_bytes(named(OBJECT_MARK, number)),
        key: key_id(number),
        version: KeyVersion::FIRST,
        lease_until: now.plus(Duration::from_secs(60)),
    };
    let key = NewKey {
        id: object.key,
        project,
        key_store,
        kind: KeyKind::Symmetric,
        name: Name::from_stored(format!("bench-{number}")),
        description: Description::default(),
        rotation: RotationPeriod::NEVER,
        next_rotation: None,
        origin: Origin::Generated,
        created: Stamp { user: "bench".to_owned(), at: now },
    };
    tx.insert_key(&key, Some(&object))?;
    tx.activate_object(&object, None, Origin::Generated)
}

/// What the service makes AES-256 keys with.
fn template(number: u64) -> [Attribute; 11] {
    [
        Attribute::Id(named(OBJECT_MARK, number).to_vec()),
        Attribute::Label(format!("skm/{}/v0", key_id(number)).into_bytes()),
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Modifiable(false),
        Attribute::Wrap(false),
        Attribute::ValueLen(32.into()),
        Attribute::Encrypt(true),
        Attribute::Decrypt(true),
    ]
}

fn key_id(number: u64) -> KeyId {
    KeyId::from_bytes(named(KEY_MARK, number))
}

fn named(mark: u8, number: u64) -> [u8; 16] {
    let mut bytes = [mark; 16];
    let (_, tail) = bytes.split_at_mut(8);
    tail.copy_from_slice(&number.to_be_bytes());
    bytes
}
