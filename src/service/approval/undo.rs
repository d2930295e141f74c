//! The end of what was made for a draft or request that nothing comes of.

use crate::domain::approval::{ChangeItem, ChangeRequest, ProposedChange};
use crate::domain::clock::Timestamp;
use crate::domain::ids::ObjectId;
use crate::domain::key::Stamp;
use crate::service::Refusal;
use crate::store::{Change, NewCertificate, Tx};

/// In the transaction that ends a draft or request: begins the end of all that was made for it; answers the objects to be destroyed then.
pub(super) fn undo_all(tx: &mut Tx<'_>, request: &ChangeRequest, items: &[ChangeItem], stamp: &Stamp, lease: Timestamp) -> Result<Vec<ObjectId>, Refusal> {
    let mut doomed = Vec::new();
    for item in items {
        doomed.extend(undo_item(tx, request, item, stamp, lease)?);
    }
    Ok(doomed)
}

/// The same for one change.
pub(super) fn undo_item(tx: &mut Tx<'_>, request: &ChangeRequest, item: &ChangeItem, stamp: &Stamp, lease: Timestamp) -> Result<Vec<ObjectId>, Refusal> {
    let objects = tx.objects_of_request(request.id)?;
    let mut doomed = Vec::new();
    for (_, object) in objects.iter().filter(|(position, _)| *position == item.position) {
        doomed.extend(tx.doom_planned(object, lease)?);
    }
    if let (ProposedChange::AddCertificate { name, fingerprint, serial, not_after, issuer, .. }, Some(key_store)) = (&item.change, request.key_store) {
        let certificate = NewCertificate { name: name.as_str(), fingerprint: *fingerprint, serial, not_after: *not_after, issuer: *issuer };
        tx.insert_revoked_certificate(key_store, &certificate, stamp)?;
        // For the revocation lists.
        tx.changed(Change::KeyStore(key_store))?;
    }
    Ok(doomed)
}
