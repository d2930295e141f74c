DROP TABLE bearer_tokens;
DROP TABLE access_keys;
DROP TABLE account_roles;
DROP TABLE accounts;
