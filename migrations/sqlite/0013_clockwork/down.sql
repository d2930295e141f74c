DROP INDEX usage_often;
