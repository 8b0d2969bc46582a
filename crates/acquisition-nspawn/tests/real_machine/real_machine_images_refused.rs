//! Images that cannot be made.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::time::Duration;

use nodes_domain::{KeptImage, NodeProvider, Observation};
use process_exec::{CommandRunner, CommandSpec, SystemRunner};
use tempfile::TempDir;
use test_support::{RealClock, step_context};

use crate::installation::{Installation, context};
use crate::real_machine_images::{borrow_base_images, runtime, tells};

/// A small file system in memory, gone when it is dropped.
struct SmallDisk(TempDir);

impl SmallDisk {
    async fn mount(home: &Installation, folder: TempDir, options: &str) -> Self {
        let path = folder.path().to_string_lossy();
        home.run(&["mount", "-t", "tmpfs", "-o", options, "pressluft-test", &path])
            .await;
        Self(folder)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let path = self.0.path().to_string_lossy().into_owned();
        let unmount = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            let runner = SystemRunner::unrecorded(Arc::new(RealClock));
            runtime.block_on(runner.run(CommandSpec::new("umount").args([&path]), &context().limits))
        });
        if !unmount
            .join()
            .is_ok_and(|ended| ended.is_ok_and(|output| output.success()))
        {
            eprintln!("a small disk of the test was left mounted");
        }
    }
}

#[tokio::test]
async fn a_full_disk_costs_the_image_and_not_the_machine() {
    // The one refuses before the machine is stopped, the other in the middle of the copy.
    for (options, stops) in [("size=64m", false), ("size=3g,nr_inodes=1000", true)] {
        let folder = tempfile::Builder::new().prefix("pressluft-test-").tempdir().unwrap();
        let cache = folder.path().to_owned();
        let elsewhere = Installation::new().await;
        // Declared before the installation that uses it, so that it goes after that one's machine.
        let _disk = SmallDisk::mount(&elsewhere, folder, options).await;
        borrow_base_images(&cache).await;
        let home = Installation::with_cache(&cache).await;
        let (node, runtime) = (home.node(), runtime('9'));
        let acquired = home.acquire(&node).await;
        home.inject(&node, &home.public_key).await;
        let pid = home.machine_pid(&node);
        let (ctx, _cancel, progress) = step_context("keep_image", Duration::from_secs(600), Arc::new(RealClock));
        let kept = home.provider.keep_image(&node, &runtime, &ctx).await;
        assert_eq!(kept.unwrap(), KeptImage::Failed);
        assert!(
            tells(&progress.events(), "No image of the machine was kept: HOST_DISK_FULL"),
            "{:?}",
            progress.events()
        );
        assert_eq!(home.machine_pid(&node) != pid, stops);
        assert!(matches!(home.observe(&node).await, Observation::Running(_)));
        assert!(home.ssh(&acquired, "true").await.success());
        let left = fs::read_dir(cache.join("images")).unwrap();
        let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
        let partial = |name: &&std::ffi::OsString| name.as_bytes().ends_with(b".partial");
        assert_eq!(left.iter().find(partial), None);
        home.release(&node).await;
        assert_eq!(home.traces(&node).await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn what_cannot_be_kept_out_of_an_image_for_sure_is_refused() {
    let home = Installation::new().await;
    let mut bad = runtime('8');
    bad.secrets.push("/etc/../root".to_owned());
    let kept = home.provider.keep_image(&home.node(), &bad, &context()).await;
    let refused = kept.unwrap_err().to_string();
    assert!(refused.starts_with("LOCAL_CONFIG_INVALID"), "{refused}");
}
