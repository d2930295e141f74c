//! What each task calls.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use tokio::sync::Mutex;

use super::{SchedulerSettings, Work};
use crate::service::{CheckpointOutcome, Refusal, Service, Swept};

/// A task that is a use case and nothing else.
fn work(service: Service, use_case: fn(Service) -> BoxFuture<'static, Result<(), Refusal>>) -> Work {
    Arc::new(move || use_case(service.clone()))
}

/// A run that could not do all that it found has failed, however much it did.
fn all_done(swept: Swept) -> Result<(), Refusal> {
    if swept.failed == 0 { Ok(()) } else { Err(Refusal::unavailable(format!("{} done, {} could not be done", swept.done, swept.failed))) }
}

pub(super) fn checkpoints(service: Service, settings: SchedulerSettings) -> Work {
    let last = Arc::new(Mutex::new((Instant::now(), 0_i64)));
    Arc::new(move || {
        let (service, last) = (service.clone(), Arc::clone(&last));
        Box::pin(async move {
            let mut last = last.lock().await;
            let records = service.records_written();
            if last.0.elapsed() < settings.checkpoint_interval && records.saturating_sub(last.1) < settings.checkpoint_records {
                return Ok(());
            }
            match service.checkpoint().await? {
                CheckpointOutcome::Made(_) => *last = (Instant::now(), records),
                // Its heads may lack our newest records: try again at the next second.
                CheckpointOutcome::AnotherNodeWas => {}
            }
            Ok(())
        })
    })
}

pub(super) fn reconcile(service: Service) -> Work {
    work(service, |service| {
        Box::pin(async move {
            let reconciled = service.reconcile().await?;
            if reconciled.failed > 0 { Err(Refusal::unavailable(format!("{} objects could not be settled yet", reconciled.failed))) } else { Ok(()) }
        })
    })
}

pub(super) fn rotate_due(service: Service) -> Work {
    work(service, |service| Box::pin(async move { all_done(service.rotate_due().await?) }))
}

pub(super) fn delete_due(service: Service) -> Work {
    work(service, |service| Box::pin(async move { all_done(service.delete_due().await?) }))
}

pub(super) fn use_limits(service: Service) -> Work {
    work(service, |service| Box::pin(async move { all_done(service.keep_use_limits().await?) }))
}

pub(super) fn certificates(service: Service) -> Work {
    work(service, |service| {
        Box::pin(async move {
            service.look_at_expiry().await?;
            service.renew_authority_if_due().await
        })
    })
}

pub(super) fn compare(service: Service) -> Work {
    work(service, |service| Box::pin(async move { service.compare_token().await.map(drop) }))
}

pub(super) fn forget_tokens(service: Service) -> Work {
    work(service, |service| Box::pin(async move { service.forget_expired_tokens().await.map(drop) }))
}

pub(super) fn forget_sessions(service: Service) -> Work {
    work(service, |service| Box::pin(async move { service.forget_expired_sessions().await }))
}

pub(super) fn expire_imports(service: Service) -> Work {
    work(service, |service| Box::pin(async move { service.expire_imports().await.map(drop) }))
}

pub(super) fn send_notifications(service: Service) -> Work {
    work(service, |service| Box::pin(async move { service.send_notifications().await }))
}

pub(super) fn tidy_notifications(service: Service) -> Work {
    work(service, |service| Box::pin(async move { service.tidy_notifications().await }))
}

pub(super) fn count_notifications(service: Service) -> Work {
    work(service, |service| Box::pin(async move { service.count_notifications().await }))
}

pub(super) fn notice_trouble(service: Service) -> Work {
    work(service, |service| Box::pin(async move { service.notice_trouble().await }))
}

pub(super) fn notice_due(service: Service) -> Work {
    work(service, |service| {
        Box::pin(async move {
            service.notice_due_soon().await?;
            service.notice_expiry().await
        })
    })
}

pub(super) fn approvals(service: Service) -> Work {
    work(service, |service| {
        Box::pin(async move {
            // What somebody waits for first.
            let resumed = service.resume_requests().await;
            service.count_approvals().await?;
            all_done(service.expire_requests().await?)?;
            all_done(resumed?)
        })
    })
}

pub(super) fn count_calls(service: Service) -> Work {
    work(service, |service| Box::pin(async move { service.count_calls().await.map(drop) }))
}

pub(super) fn forget_calls(service: Service) -> Work {
    work(service, |service| Box::pin(async move { service.forget_calls().await }))
}

pub(super) fn record_refusals(service: Service, interval: Duration) -> Work {
    let last = Arc::new(Mutex::new(Instant::now()));
    Arc::new(move || {
        let (service, last) = (service.clone(), Arc::clone(&last));
        Box::pin(async move {
            let mut last = last.lock().await;
            if last.elapsed() >= interval {
                service.record_refusals().await?;
                *last = Instant::now();
            }
            Ok(())
        })
    })
}
