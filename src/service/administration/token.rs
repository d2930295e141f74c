//! A look at the token.

use super::Operator;
use crate::domain::audit::{Operation, Uses};
use crate::service::{Comparison, Refusal, Service};

impl Service {
    /// Compares the token's objects with the database's rows for an operator (see [`Service::compare_token`]).
    pub async fn compare_token_for(&self, operator: Operator) -> Result<Comparison, Refusal> {
        let comparison = self.compare_token().await?;
        let Comparison { orphans, missing, late } = &comparison;
        let told = format!("token compared: {} orphans, {} missing, {} late", orphans.len(), missing.len(), late.len());
        let event = self.operator_event(operator, Operation::Reconcile, told)?;
        self.store().audit(event, Uses::default()).await?;
        Ok(comparison)
    }
}
