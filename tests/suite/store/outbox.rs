//! The outbox: who is due, who takes what, what is bounded, and that a recipient who goes stops no change.

use skm::domain::ids::{MessageId, ProjectId, RecipientId};
use skm::domain::notification::{EventKind, FACT_MAX_CHARS, MessageState, NotificationEvent, RECIPIENTS_MAX, SENT_MAX, Subject, Target, WAITING_MAX};
use skm::store::{NewRecipient, Store, StoreError, TOO_MANY_RECIPIENTS, Tx};

use super::rows::name;
use super::{Place, at, change, on_both, stamp, until};

on_both!(
    a_message_is_taken_by_one_until_its_lease_ends,
    a_recipient_who_gets_much_hides_no_other,
    a_recipient_who_goes_leaves_nothing,
    what_was_sent_is_bounded,
    what_would_say_too_much_is_cut,
);

fn recipient(project: Option<ProjectId>, target: &str, event: EventKind) -> NewRecipient {
    NewRecipient { project, target: Target::Mail(target.to_owned()), events: vec![event], sealed_secret: None }
}

async fn project_with(store: &Store, recipients: &[(&'static str, EventKind)]) -> (ProjectId, Vec<RecipientId>) {
    let recipients = recipients.to_vec();
    change(store, move |tx| {
        let project = tx.insert_project(&name("project"), &stamp())?;
        let made: Result<_, StoreError> =
            recipients.into_iter().map(|(target, event)| tx.insert_recipient(&recipient(Some(project), target, event), &stamp())).collect();
        Ok((project, made?))
    })
    .await
}

fn rotated(of: &str) -> NotificationEvent {
    NotificationEvent::Rotated { what: Subject { what: "key", key: None, version: None, name: of.to_owned(), key_store: None }, by: "alice".to_owned() }
}

fn failed(of: &str) -> NotificationEvent {
    NotificationEvent::RotationFailed { what: Subject { what: "key", key: None, version: None, name: of.to_owned(), key_store: None } }
}

fn tell(tx: &mut Tx<'_>, project: ProjectId, event: &NotificationEvent, micros: i64) -> Result<(), StoreError> {
    tx.notify(Some(project), event, at(micros))
}

async fn due(store: &Store, recipient: RecipientId, micros: i64) -> Option<MessageId> {
    store.read::<_, StoreError, _>(move |reader| reader.due_message(recipient, at(micros))).await.expect("a look")
}

async fn a_recipient_who_gets_much_hides_no_other(place: &mut Place) {
    let store = place.open("node");
    let (project, ids) = project_with(&store, &[("busy@example.com", EventKind::Rotated), ("calm@example.com", EventKind::RotationFailed)]).await;
    change(&store, move |tx| {
        (1..=WAITING_MAX + 5).try_for_each(|micros| tell(tx, project, &rotated("much"), micros))?;
        tell(tx, project, &failed("little"), 1_000_000)
    })
    .await;
    let look = |limit: i64| store.read::<_, StoreError, _>(move |reader| reader.due_recipients(at(2_000_000), limit));
    assert_eq!(look(2).await.expect("a look"), [(ids[0], Some(project)), (ids[1], Some(project))]);
    assert_eq!(look(1).await.expect("a look").len(), 1);
    assert_eq!(store.read::<_, StoreError, _>(|reader| reader.due_recipients(at(0), 10)).await.expect("a look"), []);
    assert_eq!(place.number("SELECT dropped AS n FROM notification_recipients ORDER BY id LIMIT 1"), 5);
    // One who is disabled is not looked at.
    let busy = ids[0];
    change(&store, move |tx| tx.set_recipient_enabled(busy, false, &stamp())).await;
    assert_eq!(look(10).await.expect("a look"), [(ids[1], Some(project))]);
}

async fn a_message_is_taken_by_one_until_its_lease_ends(place: &mut Place) {
    let (one, two) = (place.open("node-1"), place.open("node-2"));
    let (project, ids) = project_with(&one, &[("a@example.com", EventKind::Rotated)]).await;
    change(&one, move |tx| tell(tx, project, &rotated("key"), 1)).await;
    let id = due(&one, ids[0], 1).await.expect("a message");
    let take = |store: &Store, now: i64| {
        let store = store.clone();
        async move { store.change::<_, StoreError, _>(move |tx| tx.take_message(id, at(now), at(now + 100))).await.expect("a change") }
    };
    let (first, second) = tokio::join!(take(&one, 10), take(&two, 10));
    let (winner, loser, message) = match (first, second) {
        (Some(taken), None) => (&one, &two, taken.message),
        (None, Some(taken)) => (&two, &one, taken.message),
        both => panic!("{both:?}"),
    };
    assert_eq!((due(&one, ids[0], 10).await, take(loser, 109).await.is_none()), (None, true));
    let again = take(loser, 110).await.expect("its lease is over");
    assert_eq!((message.attempts, again.message.attempts), (1, 2));
    // The first learns late that it failed, which is nothing to the second.
    change(winner, move |tx| tx.message_failed(&message, "late", Err(at(111)))).await;
    let kept = one.read::<_, StoreError, _>(move |reader| reader.message(id)).await.expect("a look").expect("a message");
    assert_eq!((kept.state, kept.problem), (MessageState::Queued, None));
    let sent = again.message;
    change(loser, move |tx| tx.message_sent(&sent, at(112))).await;
    assert_eq!(place.number("SELECT count(*) AS n FROM notification_messages WHERE state = 'SENT' AND lease_until IS NULL"), 1);
    // A node that starts again takes up at once what it was at; another's leases stay.
    change(&one, move |tx| tell(tx, project, &rotated("key"), 200)).await;
    let next = due(&one, ids[0], 200).await.expect("a message");
    change(&one, move |tx| tx.take_message(next, at(200), at(300)).map(drop)).await;
    assert_eq!((change(&two, |tx| tx.release_messages()).await, change(&one, |tx| tx.release_messages()).await), (0, 1));
}

async fn a_recipient_who_goes_leaves_nothing(place: &mut Place) {
    let store = place.open("node");
    let (project, ids) = project_with(&store, &[("a@example.com", EventKind::Rotated)]).await;
    let id = ids[0];
    change(&store, move |tx| tell(tx, project, &rotated("key"), 1)).await;
    change(&store, move |tx| tx.delete_recipient(id)).await;
    assert_eq!(place.number("SELECT count(*) AS n FROM notification_messages"), 0);
    let again = store.change::<_, StoreError, _>(move |tx| tx.delete_recipient(id)).await;
    assert!(matches!(again, Err(StoreError::Stale { what: "recipient" })), "{again:?}");
    for number in 0..RECIPIENTS_MAX {
        change(&store, move |tx| tx.insert_recipient(&recipient(None, &format!("r{number}@example.com"), EventKind::TokenTrouble), &stamp())).await;
    }
    let more = store.change::<_, StoreError, _>(|tx| tx.insert_recipient(&recipient(None, "more@example.com", EventKind::TokenTrouble), &stamp())).await;
    assert!(matches!(more, Err(StoreError::Stale { what: TOO_MANY_RECIPIENTS })), "{more:?}");
}

/// One node has seen the recipient and is about to write the message, another takes the recipient away: the change of the first is made.
#[test]
fn a_recipient_who_goes_at_this_moment_stops_no_change() {
    super::on(&mut Place::postgresql(), |place| async move {
        let store = place.open("node");
        let (project, ids) = project_with(&store, &[("a@example.com", EventKind::Rotated)]).await;
        let Place::Postgresql(cluster) = &*place else { return };
        let mut other = cluster.connection();
        let mut execute = |sql: &str| diesel::connection::SimpleConnection::batch_execute(&mut other, sql).expect("a statement");
        execute(&format!("BEGIN; DELETE FROM notification_recipients WHERE id = {}", ids[0].0));
        let telling = store.clone();
        let told = tokio::spawn(async move { telling.change::<_, StoreError, _>(move |tx| tell(tx, project, &rotated("key"), 1)).await });
        let waiting = "SELECT count(*) AS n FROM pg_locks WHERE NOT granted";
        until("it waits for the recipient", || place.number(waiting) > 0).await;
        execute("COMMIT");
        assert!(matches!(told.await.expect("a task"), Ok(())));
        assert_eq!(place.number("SELECT count(*) AS n FROM notification_messages"), 0);
    });
}

async fn what_was_sent_is_bounded(place: &mut Place) {
    let store = place.open("node");
    let (_, ids) = project_with(&store, &[("a@example.com", EventKind::Rotated), ("b@example.com", EventKind::Rotated)]).await;
    for (recipient, many) in [(ids[0], SENT_MAX + 700), (ids[1], SENT_MAX)] {
        place.execute(&format!(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {many})
             INSERT INTO notification_messages (id, recipient_id, event, project, facts, happened_at, state, attempts, due_at, done_at)
             SELECT '{recipient}/' || CAST(i AS TEXT), {recipient}, 'ROTATED', '', '[]', i, 'SENT', 1, 1, 1000 FROM n"
        ));
    }
    let tidy = || change(&store, |tx| tx.tidy_outbox(at(1_000), at(0), (at(0), at(0)), "too old"));
    assert_eq!([tidy().await, tidy().await, tidy().await], [500, 200, 0]);
    for recipient in &ids {
        assert_eq!(place.number(&format!("SELECT count(*) AS n FROM notification_messages WHERE recipient_id = {recipient}")), SENT_MAX);
    }
    assert_eq!(place.number(&format!("SELECT min(happened_at) AS n FROM notification_messages WHERE recipient_id = {}", ids[0])), 701);
    // Their time comes too.
    let end = || change(&store, |tx| tx.tidy_outbox(at(2_000), at(0), (at(1_001), at(0)), "too old"));
    while end().await > 0 {}
    assert_eq!(place.number("SELECT count(*) AS n FROM notification_messages"), 0);
}

async fn what_would_say_too_much_is_cut(place: &mut Place) {
    let store = place.open("node");
    let (project, ids) = project_with(&store, &[("a@example.com", EventKind::Rotated)]).await;
    change(&store, move |tx| tell(tx, project, &rotated(&"\u{1}ü".repeat(50_000)), 1)).await;
    let id = due(&store, ids[0], 1).await.expect("a message");
    let kept = store.read::<_, StoreError, _>(move |reader| reader.message(id)).await.expect("a look").expect("a message");
    let of_name = kept.facts.iter().find(|(fact, _)| fact == "name").map(|(_, text)| text.chars().count());
    assert_eq!((of_name, kept.project.as_deref()), (Some(FACT_MAX_CHARS), Some("project")));
}
