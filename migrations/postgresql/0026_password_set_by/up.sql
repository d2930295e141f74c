-- Who last gave an account a password of which he knew all: that stays when its owner changes it, since he may have done that himself. None: two
-- people did, of whom each knew a part.
ALTER TABLE accounts ADD COLUMN password_set_by TEXT COLLATE "C";
UPDATE accounts SET password_set_by = created_by;

-- What is made for a draft or request ends with that, and not by the clock.
UPDATE token_objects SET lease_until = 253402300799000000 WHERE state = 'PROVISIONING' AND object_id IN (
    SELECT object_id FROM change_items WHERE request_id IN (SELECT id FROM change_requests WHERE state IN ('DRAFT', 'READY'))
);
