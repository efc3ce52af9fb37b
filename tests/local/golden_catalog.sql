-- Catalog main: schemas, tables, keys, checks, masks, row filters and grants.
-- Made by `clinical-lakehouse bundle sql` from the contracts and conf/access.yml; change those.
-- Run it as the catalog's owner, after `databricks bundle deploy` and before the first job, and
-- again after every change. What is no longer granted or masked is to be taken back by hand.

-- schemas
CREATE SCHEMA IF NOT EXISTS `main`.`bronze` COMMENT 'As received and restricted, identifies people';
ALTER SCHEMA `main`.`bronze` SET TAGS ('layer' = 'bronze', 'phi' = 'direct');
CREATE SCHEMA IF NOT EXISTS `main`.`silver` COMMENT 'De-identified FHIR and trial records, dates shifted per person';
ALTER SCHEMA `main`.`silver` SET TAGS ('layer' = 'silver', 'phi' = 'quasi');

-- tables
CREATE TABLE IF NOT EXISTS `main`.`bronze`.`raw` (
  `id` STRING NOT NULL COMMENT 'Id.',
  `text` STRING COMMENT 'It.'
)
USING DELTA
COMMENT 'One row per line.'
TBLPROPERTIES ('delta.enableDeletionVectors' = 'true', 'delta.dataSkippingStatsColumns' = 'text');
ALTER TABLE `main`.`bronze`.`raw` SET TAGS ('layer' = 'bronze', 'owner' = 'me', 'phi' = 'direct');
ALTER TABLE `main`.`bronze`.`raw` ALTER COLUMN `id` SET TAGS ('phi' = 'direct');
CREATE TABLE IF NOT EXISTS `main`.`silver`.`thing` (
  `key` BIGINT NOT NULL COMMENT 'Key.',
  `birth_year` INT COMMENT 'Year.',
  `arm` STRING COMMENT 'Arm.',
  `people` BIGINT COMMENT 'How many.'
)
USING DELTA
COMMENT 'One row per thing.'
TBLPROPERTIES ('delta.enableDeletionVectors' = 'true', 'delta.dataSkippingStatsColumns' = 'key,birth_year,arm,people');
ALTER TABLE `main`.`silver`.`thing` SET TAGS ('layer' = 'silver', 'owner' = 'me', 'phi' = 'quasi');
ALTER TABLE `main`.`silver`.`thing` ALTER COLUMN `key` SET TAGS ('phi' = 'pseudonym');
ALTER TABLE `main`.`silver`.`thing` ALTER COLUMN `birth_year` SET TAGS ('phi' = 'quasi');
CREATE TABLE IF NOT EXISTS `main`.`silver`.`part` (
  `thing_key` BIGINT NOT NULL COMMENT 'The thing.',
  `number` INT NOT NULL COMMENT 'Its number.',
  `weight_mg` DOUBLE COMMENT 'Weight.',
  `kind` STRING COMMENT 'Kind.'
)
USING DELTA
CLUSTER BY (`thing_key`)
COMMENT 'One row per part of a thing; it\'s small.'
TBLPROPERTIES ('delta.enableDeletionVectors' = 'true', 'delta.dataSkippingStatsColumns' = 'thing_key,number,weight_mg,kind', 'delta.enableChangeDataFeed' = 'true');
ALTER TABLE `main`.`silver`.`part` SET TAGS ('layer' = 'silver', 'owner' = 'data-engineering', 'phi' = 'pseudonym', 'retention_days' = '30');
ALTER TABLE `main`.`silver`.`part` ALTER COLUMN `thing_key` SET TAGS ('phi' = 'pseudonym');

-- keys
ALTER TABLE `main`.`bronze`.`raw` DROP CONSTRAINT IF EXISTS `pk_raw` CASCADE;
ALTER TABLE `main`.`bronze`.`raw` ADD CONSTRAINT `pk_raw` PRIMARY KEY (`id`) NOT ENFORCED NORELY;
ALTER TABLE `main`.`silver`.`thing` DROP CONSTRAINT IF EXISTS `pk_thing` CASCADE;
ALTER TABLE `main`.`silver`.`thing` ADD CONSTRAINT `pk_thing` PRIMARY KEY (`key`) NOT ENFORCED RELY;
ALTER TABLE `main`.`silver`.`part` DROP CONSTRAINT IF EXISTS `pk_part` CASCADE;
ALTER TABLE `main`.`silver`.`part` ADD CONSTRAINT `pk_part` PRIMARY KEY (`thing_key`, `number`) NOT ENFORCED RELY;
ALTER TABLE `main`.`silver`.`part` DROP CONSTRAINT IF EXISTS `fk_part_thing_key`;
ALTER TABLE `main`.`silver`.`part` ADD CONSTRAINT `fk_part_thing_key` FOREIGN KEY (`thing_key`) REFERENCES `main`.`silver`.`thing` (`key`) NOT ENFORCED;

-- checks
ALTER TABLE `main`.`silver`.`part` DROP CONSTRAINT IF EXISTS `weight_mg_between__1_and_500`;
ALTER TABLE `main`.`silver`.`part` ADD CONSTRAINT `weight_mg_between__1_and_500` CHECK (coalesce(`weight_mg` BETWEEN -1 AND 500, true));
ALTER TABLE `main`.`silver`.`part` DROP CONSTRAINT IF EXISTS `kind_is_one_of`;
ALTER TABLE `main`.`silver`.`part` ADD CONSTRAINT `kind_is_one_of` CHECK (coalesce(`kind` IN ('a', 'b'), true));

-- column masks
CREATE OR REPLACE FUNCTION `main`.`ops`.`mask_arm_string`(`value` STRING) RETURNS STRING COMMENT 'Shows a hidden column to the roles of conf/access.yml' RETURN CASE WHEN is_account_group_member('engineers') THEN `value` END;
CREATE OR REPLACE FUNCTION `main`.`ops`.`mask_quasi_int`(`value` INT) RETURNS INT COMMENT 'Shows a hidden column to the roles of conf/access.yml' RETURN CASE WHEN is_account_group_member('engineers') THEN `value` END;
ALTER TABLE `main`.`silver`.`thing` ALTER COLUMN `birth_year` SET MASK `main`.`ops`.`mask_quasi_int`;
ALTER TABLE `main`.`silver`.`thing` ALTER COLUMN `arm` SET MASK `main`.`ops`.`mask_arm_string`;

-- row filters
CREATE OR REPLACE FUNCTION `main`.`ops`.`rows_silver_thing`(`people` BIGINT) RETURNS BOOLEAN COMMENT 'Rows that roles outside all_rows of conf/access.yml see' RETURN is_account_group_member('engineers') OR (`people` >= 11);
ALTER TABLE `main`.`silver`.`thing` SET ROW FILTER `main`.`ops`.`rows_silver_thing` ON (`people`);

-- grants
GRANT USE CATALOG ON CATALOG `main` TO `engineers`;
GRANT USE SCHEMA ON SCHEMA `main`.`bronze` TO `engineers`;
GRANT SELECT ON TABLE `main`.`bronze`.`raw` TO `engineers`;
GRANT USE SCHEMA, SELECT ON SCHEMA `main`.`silver` TO `engineers`;
GRANT USE CATALOG ON CATALOG `main` TO `guests`;
GRANT USE SCHEMA, SELECT ON SCHEMA `main`.`silver` TO `guests`;
