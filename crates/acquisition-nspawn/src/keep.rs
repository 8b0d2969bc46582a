//! `keep_image`: the machine is stopped in order, its root is copied scrubbed into the cache, and it is started again,
//! whatever came of the copy.

use std::sync::Arc;
use std::time::Duration;

use domain_kernel::{CancelToken, Limits};
use jobs::{StepContext, StepError};
use nodes_domain::{Instance, KeptImage, RuntimeImage};

use crate::failure::Code;
use crate::files::Lock;
use crate::names::MachineNames;
use crate::provider::NspawnProvider;
use crate::record::{MachineFolder, MachineRecord};
use crate::root::machine::{self, Stopped};
use crate::root::runtime_image::{Entry, State};
use crate::root::{mounts, tree};
use crate::scrub::Scrub;

const CODE: Code = Code::LocalAcquisitionFailed;

/// How long a machine has to shut down: a database that is killed is not in an image.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(60);

/// How long making an image may take, the shutdown and the way to the disk included: it is only worth what it saves the next
/// node. A copy takes seconds where the disk is not far too busy.
const IMAGE_LIMIT: Duration = Duration::from_secs(180);

/// How long starting the machine again may take after the work was told to stop.
const RETURN_LIMIT: Duration = Duration::from_secs(7);

/// How long removing an unfinished image may take, and how long after the work was told to stop.
const DISCARD_LIMIT: Duration = Duration::from_secs(60);
const DISCARD_LIMIT_STOPPED: Duration = Duration::from_secs(2);

/// A machine whose image is to be kept.
struct Subject<'a> {
    names: MachineNames,
    folder: &'a MachineFolder,
    record: MachineRecord,
    /// Held by the copy too, which may outlive who asked for it by a moment.
    locks: [Arc<Lock>; 2],
}

impl NspawnProvider {
    /// See [`nodes_domain::NodeProvider::keep_image`].
    pub(crate) async fn keep(
        &self,
        instance: &Instance,
        runtime: &RuntimeImage,
        ctx: &StepContext,
    ) -> Result<KeptImage, StepError> {
        ctx.check()?;
        let scrub = Scrub::new(&runtime.secrets)?;
        let names = MachineNames::new(&instance.short_id());
        let folder = self.folder(instance);
        let gone = || StepError::failed(Code::LocalInstanceUnusable, format!("{} is gone", instance.name()));
        let lock = Lock::folder(ctx, CODE, folder.path()).await?.ok_or_else(gone)?;
        let record = self.recorded(&folder, instance)?.ok_or_else(gone)?;
        let entry = Entry::new(&self.config, record.base(), runtime)?;
        let building = entry.lock_building(&self.time_for_image(ctx)).await;

        // A call that was killed may have left the machine stopped. It is up before it is stopped in any case: how one that
        // does not run has ended is not known.
        self.up(ctx, &names, &folder, &record).await?;
        let kept = match building {
            Ok(building) => {
                let subject = Subject {
                    names,
                    folder: &folder,
                    record,
                    locks: [lock, building].map(Arc::new),
                };
                self.kept(ctx, &subject, &entry, scrub).await
            }
            Err(error) => Err(of_image(ctx, error)),
        };
        match kept {
            Ok(kept) => {
                if kept == KeptImage::Made {
                    ctx.point("keep_image.kept").await;
                }
                self.tidy(ctx, &entry).await;
                Ok(kept)
            }
            Err(Trouble::WithImage(error)) => {
                ctx.log(&format!("No image of the machine was kept: {error}")).await;
                Ok(KeptImage::Failed)
            }
            Err(Trouble::WithMachine(error)) => Err(error),
        }
    }

    /// What bounds the work on the image. The time that a machine may take to boot is left before the job's deadline.
    fn time_for_image(&self, ctx: &StepContext) -> StepContext {
        ctx.within(IMAGE_LIMIT.min(ctx.time_left().saturating_sub(self.config.boot_limit)))
    }

    async fn kept(
        &self,
        ctx: &StepContext,
        subject: &Subject<'_>,
        entry: &Entry,
        scrub: Scrub,
    ) -> Result<KeptImage, Trouble> {
        let limited = self.time_for_image(ctx);
        match entry.state(ctx.now()).map_err(|error| of_image(ctx, error))? {
            State::Finished => return Ok(KeptImage::Existing),
            State::Outdated => {
                let removed = entry.remove(&self.host, &limited).await;
                if !removed.map_err(|error| of_image(ctx, error))? {
                    ctx.log("The image is too old for new machines. It is in use and is not replaced.")
                        .await;
                    return Ok(KeptImage::Existing);
                }
            }
            State::Absent | State::Unusable(_) => {}
        }
        self.make(ctx, &limited, subject, entry, scrub).await?;
        Ok(KeptImage::Made)
    }

    /// Makes the image within `limited`. Whatever comes of it, the machine is started again, within `ctx`.
    async fn make(
        &self,
        ctx: &StepContext,
        limited: &StepContext,
        subject: &Subject<'_>,
        entry: &Entry,
        scrub: Scrub,
    ) -> Result<(), Trouble> {
        limited.check().map_err(|error| of_image(ctx, error))?;
        let begun = entry.begin(&self.host, limited).await;
        begun.map_err(|error| of_image(ctx, error))?;
        let copied = self.stop_and_copy(limited, subject, entry, scrub).await;
        if copied.as_ref().is_err_and(is_disk_full) {
            // The machine may need the room to boot.
            self.discard(ctx, entry).await;
        }
        // The machine boots while the copy reaches the disk.
        let syncing = async {
            copied?;
            entry.sync(&self.host, limited).await
        };
        let (back, synced) = tokio::join!(self.started_again(ctx, subject), syncing);
        // Of a machine that does not come up again nothing is kept.
        let made = match synced {
            Ok(()) if back.is_ok() => entry.finish(limited).await,
            other => other,
        };
        if back.is_err() || made.is_err() {
            self.discard(ctx, entry).await;
        }
        back.map_err(Trouble::WithMachine)?;
        made.map_err(|error| of_image(ctx, error))
    }

    /// Removes what there is of an image that is not finished. What is left of it is removed by the next call.
    async fn discard(&self, ctx: &StepContext, entry: &Entry) {
        let own = match ctx.check() {
            Ok(()) => ctx.within(DISCARD_LIMIT),
            Err(_) => unstoppable(ctx, DISCARD_LIMIT_STOPPED),
        };
        if let Err(error) = entry.discard(&self.host, &own).await {
            ctx.log(&format!("The unfinished image was not removed: {error}")).await;
        }
    }

    /// Stops the machine and copies its root. Afterwards it does not run, or is about to end.
    async fn stop_and_copy(
        &self,
        ctx: &StepContext,
        subject: &Subject<'_>,
        entry: &Entry,
        mut scrub: Scrub,
    ) -> Result<(), StepError> {
        let Subject {
            names,
            folder,
            record,
            locks,
        } = subject;
        ctx.check()?;
        ctx.detail(&format!("stopping {} to keep an image of it", names.instance()))
            .await;
        if machine::stop(ctx, CODE, names, folder, SHUTDOWN_LIMIT).await? == Stopped::Killed {
            return Err(StepError::failed(CODE, "The machine did not shut down in order"));
        }
        ctx.point("keep_image.machine_stopped").await;
        ctx.detail(&format!("copying {}", names.instance())).await;
        mounts::mount_root(&self.host, ctx, folder, &record.lower).await?;
        let begin = ctx.now();
        let (source, target) = (folder.merged(), entry.partial_root());
        let (locks, limits) = (locks.clone(), ctx.clone());
        let asked = Arc::new(());
        let still_asked = Arc::downgrade(&asked);
        let copying = tokio::task::spawn_blocking(move || {
            let _locks = locks;
            tree::copy(&source, &target, &mut scrub, &|| {
                limits.check()?;
                // Whoever asked is gone: this is not wanted any more.
                still_asked.upgrade().map(drop).ok_or(StepError::DeadlineExceeded)
            })
        });
        let copied = copying
            .await
            .map_err(|error| StepError::failed(Code::Internal, format!("the copy of a machine: {error}")))?;
        drop(asked);
        let copied = copied?;
        entry.refuse_other_key()?;
        ctx.log(&format!(
            "Copied {} files, {} MB, within {} ms.",
            copied.files,
            copied.bytes / 1_000_000,
            ctx.now().since(begin).as_millis()
        ))
        .await;
        ctx.point("keep_image.copied").await;
        Ok(())
    }

    /// Starts the machine again and waits until it is up. It has all the time that `acquire` has; where the work was told to
    /// stop, before or meanwhile, a short one of its own.
    async fn started_again(&self, ctx: &StepContext, subject: &Subject<'_>) -> Result<(), StepError> {
        let Subject {
            names, folder, record, ..
        } = subject;
        if ctx.check().is_ok() {
            match self.up(ctx, names, folder, record).await {
                Err(StepError::Stopped(_)) => {}
                other => return other.map(drop),
            }
        }
        let own = unstoppable(ctx, RETURN_LIMIT);
        if let Err(error) = self.up(&own, names, folder, record).await {
            ctx.log(&format!("The machine is not up again yet: {error}")).await;
            ctx.check()?;
            return Err(error);
        }
        Ok(())
    }

    /// Removes the images that this one replaces. Those that could not be removed are met by the next call.
    async fn tidy(&self, ctx: &StepContext, entry: &Entry) {
        if let Err(error) = entry.remove_others(&self.host, &self.time_for_image(ctx)).await {
            ctx.log(&format!("An older image was not removed: {error}")).await;
        }
    }
}

/// What went wrong, by what it means for the caller.
enum Trouble {
    /// There is no image; the machine runs.
    WithImage(StepError),
    /// The machine does not run, or the work was told to stop.
    WithMachine(StepError),
}

/// Trouble with the image. Its time being over is no more than that for as long as the job's is not.
fn of_image(ctx: &StepContext, error: StepError) -> Trouble {
    match (ctx.check(), error) {
        (Err(told_to_stop), _) => Trouble::WithMachine(told_to_stop),
        (Ok(()), StepError::DeadlineExceeded) => {
            Trouble::WithImage(StepError::failed(CODE, "There was not enough time to make it"))
        }
        (Ok(()), error @ StepError::Failed(_)) => Trouble::WithImage(error),
        (Ok(()), error) => Trouble::WithMachine(error),
    }
}

fn is_disk_full(error: &StepError) -> bool {
    matches!(error, StepError::Failed(failure) if failure.code == Code::HostDiskFull)
}

/// The same context for what must be done although the work was told to stop.
fn unstoppable(ctx: &StepContext, limit: Duration) -> StepContext {
    let mut own = ctx.clone();
    own.limits = Limits {
        cancel: CancelToken::new(),
        deadline: ctx.now().plus(limit),
    };
    own
}

#[cfg(test)]
mod tests {
    use domain_kernel::StopReason;
    use test_support::{ManualClock, step_context};

    use super::*;

    #[test]
    fn an_image_that_takes_too_long_fails_no_job_that_has_time_left() {
        let clock = Arc::new(ManualClock::new());
        let (ctx, cancel, _progress) = step_context("keep_image", Duration::from_secs(600), clock.clone());
        let trouble = of_image(&ctx, StepError::DeadlineExceeded);
        assert!(matches!(trouble, Trouble::WithImage(StepError::Failed(_))));
        let failed = || StepError::failed(CODE, "x");
        assert!(matches!(of_image(&ctx, failed()), Trouble::WithImage(_)));
        clock.advance(Duration::from_secs(600));
        assert!(matches!(
            of_image(&ctx, failed()),
            Trouble::WithMachine(StepError::DeadlineExceeded)
        ));
        cancel.cancel(StopReason::Cancelled);
        assert!(matches!(
            of_image(&ctx, failed()),
            Trouble::WithMachine(StepError::Stopped(StopReason::Cancelled))
        ));
    }
}
