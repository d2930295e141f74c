DROP INDEX keys_inventory;
