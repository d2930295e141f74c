//! Records of copies of database and token, which are not made here.

use super::Operator;
use crate::domain::audit::{Operation, Uses};
use crate::domain::result_code::ResultCode;
use crate::service::{Refusal, Service};

/// How the audit log calls a backup that came to nothing.
const BACKUP_FAILED: &str = "failed";

impl Service {
    /// Records how far an operator's copy of database and token is: `began`, then `done` or `failed`.
    pub async fn record_backup(&self, operator: Operator, stage: &'static str) -> Result<(), Refusal> {
        let mut event = self.operator_event(operator, Operation::Backup, stage.to_owned())?;
        if stage == BACKUP_FAILED {
            event.result_code = ResultCode::ServiceUnavailable.number();
        }
        Ok(self.store().audit(event, Uses::default()).await?)
    }
}
