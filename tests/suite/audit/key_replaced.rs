//! Somebody signs the whole log anew with a key of their own: only the pinned key tells.

use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};

use super::log::{path, write_log};
use crate::support::installation::Installation;

#[test]
fn another_key_is_found_by_the_pinned_one() {
    let log = write_log(Installation::new());
    let random = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("a key");
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random).expect("a key");
    let mut database = log.database();
    let resign = |hash: &str| hex::encode(pair.sign(&random, &hex::decode(hash).expect("hex")).expect("a signature").as_ref());
    for digest in database.texts("hex(digest)", "audit_checkpoints") {
        database.run(&format!("UPDATE audit_checkpoints SET signature = x'{}' WHERE hex(digest) = '{digest}'", resign(&digest)));
    }
    for hash in database.texts("hex(hash)", "audit_records WHERE position % 1099511627776 = 0") {
        let chain = format!("(SELECT position / 1099511627776 FROM audit_records WHERE hex(hash) = '{hash}')");
        database.run(&format!("UPDATE audit_chains SET signature = x'{}' WHERE number = {chain}", resign(&hash)));
    }
    let audit_key = "key_id = (SELECT key_id FROM internal_keys WHERE purpose = 'AUDIT_CHECKPOINT')";
    let spki = database.texts("hex(public_key)", &format!("token_objects WHERE {audit_key}")).remove(0);
    let forged = format!("{}{}", &spki[..spki.len() - 130], hex::encode_upper(pair.public_key().as_ref()));
    database.run(&format!("UPDATE token_objects SET public_key = x'{forged}' WHERE {audit_key}"));
    drop(database);
    // Whoever has the database has the key in it too: that is why one is kept apart.
    log.verify_with(&[]).must_be_intact();
    let verdict = log.verify_with(&["--public-key", path(&log.public_key)]);
    verdict.must_name("another key", "checkpoint 1: is not signed by a key that may");
    verdict.must_name("another key", "its first record is not signed by a key that may");
}
