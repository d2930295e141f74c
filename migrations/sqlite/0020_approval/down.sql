DROP TABLE change_editors;
DROP TABLE change_items;
DROP TABLE change_requests;
ALTER TABLE access_keys DROP COLUMN may_approve;
DROP TABLE governance;
