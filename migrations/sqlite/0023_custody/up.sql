-- Who holds what approves: nobody alone comes to hold two identities of a project with approval on.

-- Who made an access key, and so knows its secret; none: an operator, with the machine in hand. Whoever made those that are there is told by
-- name, which is an account's for good.
ALTER TABLE access_keys ADD COLUMN maker_id INTEGER;
UPDATE access_keys SET maker_id = (SELECT accounts.id FROM accounts WHERE accounts.login = access_keys.created_by);
-- One that is disabled loses that it may approve.
UPDATE access_keys SET may_approve = 0 WHERE enabled = 0;

-- The access key with which somebody approved; none: at the console.
ALTER TABLE change_requests ADD COLUMN decider_key TEXT;

-- The hash of the password that an account gets, of both its parts: from the transaction that approves until the change is applied or has failed.
ALTER TABLE change_items ADD COLUMN password_hash TEXT;
-- What was asked for before has a whole password, which whoever asked knows: it is asked for anew.
UPDATE change_requests SET expires_at = 0 WHERE state = 'READY' AND EXISTS (
    SELECT 1 FROM change_items
    WHERE change_items.request_id = change_requests.id
        AND (change_items.change LIKE '{"kind":"CREATE_ACCOUNT"%' OR change_items.change LIKE '{"kind":"RESET_PASSWORD"%')
);
