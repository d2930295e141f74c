DROP INDEX client_rules_inventory;
DROP INDEX keys_inventory;
