//! What holds for every step of every workflow: it can be interrupted and repeated, and the end is the same.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain_kernel::{CancelToken, JobId, NodeId, StopReason};
use futures_util::poll;
use jobs::{
    Claim, Job, JobKind, JobStatus, JobStore, Outcome, Recover, RunEnd, Step, StepContext, StepError, StepStatus,
    StoreError, Workflow,
};
use nodes_domain::{Instance, NodeStatus};
use sites_domain::{BackupScope, CreatedInSite};
use test_support::{FakeKeys, fake_host_key};

use crate::bench::Bench;
use crate::site_bench::staging_request;

/// The steps of a workflow, as they are shown: a new workflow or step must be entered here.
fn steps_of(kind: JobKind) -> &'static [&'static str] {
    match kind {
        JobKind::NodeProvision => &[
            "acquire",
            "inject_key",
            "wait_for_ssh",
            "provision",
            "keep_image",
            "readiness",
        ],
        JobKind::NodeDecommission => &["disconnect", "release"],
        JobKind::SiteCreate | JobKind::EnvCreate => &["artifacts", "create", "prove_preview"],
        JobKind::SiteDelete | JobKind::EnvDelete => &["delete", "delete_backups"],
        JobKind::EnvReaddress => &["rewrite", "prove_preview"],
        JobKind::SiteAbandon | JobKind::EnvAbandon => &["delete_backups"],
        JobKind::BackupCreate => &["stage", "store", "unstage"],
        JobKind::EnvRestore => &[
            "check_backup",
            "checkpoint",
            "stage",
            "restore",
            "prove_preview",
            "keep",
        ],
    }
}

/// What a job works on, besides its node.
#[derive(Default)]
struct Worked {
    on: Vec<CreatedInSite>,
}

/// A job of the kind that waits, with the world that it needs.
async fn waiting(bench: &Bench, kind: JobKind) -> (NodeId, JobId, Worked) {
    match kind {
        JobKind::NodeProvision => {
            let (node_id, job_id) = bench.asked().await;
            (node_id, job_id, Worked::default())
        }
        JobKind::NodeDecommission => {
            let node_id = bench.active_node().await;
            let accepted = bench.service.delete(node_id, None).await.unwrap();
            (node_id, accepted.job_id, Worked::default())
        }
        JobKind::SiteCreate => {
            let node_id = bench.active_node().await;
            let created = bench.asked_site("shop").await;
            (node_id, created.job_id, Worked { on: vec![created] })
        }
        JobKind::SiteDelete
        | JobKind::SiteAbandon
        | JobKind::EnvCreate
        | JobKind::EnvDelete
        | JobKind::EnvAbandon
        | JobKind::EnvReaddress
        | JobKind::BackupCreate
        | JobKind::EnvRestore => of_a_site(bench, kind).await,
    }
}

/// The same on a site that is there, with a staging environment and a backup of each where the kind is about them.
async fn of_a_site(bench: &Bench, kind: JobKind) -> (NodeId, JobId, Worked) {
    let service = &bench.sites.service;
    let site = bench.active_site().await;
    let mut on = vec![site];
    let abandons = matches!(kind, JobKind::SiteAbandon | JobKind::EnvAbandon);
    let removes = abandons || matches!(kind, JobKind::SiteDelete | JobKind::EnvDelete);
    if removes {
        let staging = bench.active_staging(&site).await;
        bench.stored_backup(staging.environment_id).await;
        bench.stored_backup(site.environment_id).await;
        on.push(staging);
    }
    let node_id = bench.node_of(site.environment_id);
    if abandons {
        bench.set_node_status(node_id, NodeStatus::Unreachable);
    }
    if kind == JobKind::EnvReaddress {
        bench.readdress(node_id, "192.0.2.99");
        bench.preview_keeper().round().await.unwrap();
        let job_id = bench.jobs_of(kind).await[0].id;
        return (node_id, job_id, Worked { on });
    }
    let accepted = match kind {
        JobKind::SiteDelete => service.delete_site(site.site_id, "shop", None).await,
        JobKind::EnvDelete => service.delete_environment(on[1].environment_id, "staging", None).await,
        JobKind::SiteAbandon => service.abandon_site(site.site_id, "shop", None).await,
        JobKind::EnvAbandon => {
            let abandoned = service.abandon_environment(on[1].environment_id, "staging", None);
            abandoned.await
        }
        JobKind::BackupCreate => {
            let backup = service.create_backup(site.environment_id, BackupScope::Full, Some(7), None, None);
            backup.await
        }
        JobKind::EnvRestore => {
            let backup = bench.stored_backup(site.environment_id).await;
            bench.set_content(site.environment_id, "damaged");
            service.restore(site.environment_id, backup, None).await
        }
        _ => {
            let request = staging_request("staging", site.environment_id);
            service.create_environment(site.site_id, request, None, None).await
        }
    };
    let accepted = accepted.unwrap();
    on.push(accepted);
    (node_id, accepted.job_id, Worked { on })
}

/// All that is left of sites, in their databases, on their node and in the storage.
fn left_of_sites(bench: &Bench, node_id: NodeId, worked: &Worked) -> String {
    let sites: Vec<_> = worked
        .on
        .iter()
        .map(|of| {
            let site = bench.sites.rows.find_site(of.site_id);
            let environment = bench.sites.rows.find_environment(of.environment_id);
            (
                site.map(|site| site.status),
                environment.map(|known| {
                    (
                        known.status,
                        known.resting_status,
                        known.wordpress_version,
                        known.preview_url,
                    )
                }),
            )
        })
        .collect();
    let backups = bench.sites.rows.all_backups();
    let told = backups.iter().map(|backup| {
        let stored = (backup.storage_path.clone(), backup.checksum.clone(), backup.size_bytes);
        (
            backup.scope,
            backup.status,
            backup.trigger,
            backup.storage.clone(),
            stored,
        )
    });
    let told = told.collect::<Vec<_>>();
    // Ids differ from run to run; the order in which they were made does not.
    let named = |text: String| {
        let mut text = text;
        for (number, backup) in backups.iter().enumerate() {
            text = text.replace(backup.id.short().as_str(), &format!("<backup {number}>"));
        }
        for (number, of) in worked.on.iter().enumerate() {
            let environment = format!("<environment {number}>");
            text = text
                .replace(of.site_id.short().as_str(), "<site>")
                .replace(of.environment_id.short().as_str(), &environment);
        }
        text
    };
    let held = bench.sites.environments.all();
    let mut held: Vec<_> = held.values().map(|known| named(format!("{known:?}"))).collect();
    held.sort();
    let objects = bench.sites.storage.objects();
    let mut objects: Vec<_> = objects.iter().map(|object| named(format!("{object:?}"))).collect();
    objects.sort();
    let more = (
        bench.sites.runtime.whole_sites(),
        bench.sites.files.paths(node_id),
        bench.sites.storage.unfinished(),
    );
    let rows = named(format!("{:#?}", (sites, told, more)));
    format!("{rows}\n{held:#?}\n{objects:#?}")
}

/// All that a workflow leaves behind, with the node's own names replaced so that two runs can be compared.
fn left_behind(bench: &Bench, node_id: NodeId, job_id: JobId, worked: &Worked) -> String {
    let node = bench.node(node_id);
    let job = bench.job(job_id);
    let steps: Vec<_> = bench
        .steps(job_id)
        .into_iter()
        .map(|step| (step.name, step.status, step.attempt))
        .collect();
    let text = format!(
        "{:#?}\n{}",
        (
            (
                node.status,
                node.target,
                node.readiness,
                node.last_seen_at,
                node.probe_failures
            ),
            (job.status, job.attempt_count, job.error, job.locked_by),
            steps,
            bench.machines.all(),
            bench.ssh.known(),
        ),
        left_of_sites(bench, node_id, worked),
    );
    let name = Instance::of(node_id).name();
    let text = text.replace(fake_host_key(&name).as_str(), "<host key>");
    text.replace(&name, "<machine>").replace(&node_id.to_string(), "<node>")
}

/// What an uninterrupted run leaves behind.
async fn undisturbed(kind: JobKind) -> String {
    let bench = Bench::new();
    let (node_id, job_id, worked) = waiting(&bench, kind).await;
    assert_eq!(bench.run().await, RunEnd::Settled(Outcome::Succeeded));
    left_behind(&bench, node_id, job_id, &worked)
}

/// What must hold of the machine after a job of the kind, besides the comparison.
fn check_machines(bench: &Bench, kind: JobKind, place: &str) {
    let machines: Vec<_> = bench.machines.all().into_values().collect();
    let held = bench.sites.environments.all();
    let backups = bench.sites.storage.objects().len();
    match kind {
        JobKind::NodeDecommission => assert!(machines.is_empty(), "{place}"),
        JobKind::NodeProvision => {
            assert_eq!(machines.len(), 1, "{place}");
            assert_eq!(machines[0].authorized_keys, [FakeKeys::PUBLIC_KEY], "{place}");
        }
        JobKind::SiteCreate => assert_eq!((held.len(), backups), (1, 0), "{place}"),
        JobKind::EnvCreate => assert_eq!((held.len(), backups), (2, 0), "{place}"),
        JobKind::SiteDelete => assert_eq!((held.len(), backups), (0, 0), "{place}"),
        JobKind::EnvDelete => assert_eq!((held.len(), backups), (1, 1), "{place}"),
        // What was on the node is left to itself.
        JobKind::SiteAbandon => assert_eq!((held.len(), backups), (2, 0), "{place}"),
        JobKind::EnvAbandon => assert_eq!((held.len(), backups), (2, 1), "{place}"),
        JobKind::EnvReaddress => {
            let urls: Vec<_> = held.values().map(|known| known.url.contains("192-0-2-99")).collect();
            assert_eq!(urls, [true], "{place}");
        }
        JobKind::BackupCreate => assert_eq!((held.len(), backups), (1, 1), "{place}"),
        JobKind::EnvRestore => {
            let content = held.values().map(|known| known.content.as_str()).collect::<Vec<_>>();
            assert_eq!((content, backups), (vec!["new WordPress `A shop`"], 2), "{place}");
        }
    }
}

/// How a run is interrupted.
#[derive(Debug, Clone, Copy)]
enum Interruption {
    /// The process dies: the run is never polled again.
    Death,
    /// The server is stopped in order.
    Shutdown,
}

/// Runs the due job, interrupts it after `polls` polls, and says where that was; `None` where it had ended before.
async fn interrupted(bench: &Bench, job_id: JobId, polls: u32, how: Interruption) -> Option<String> {
    let claimed = bench.claim().await;
    let cancel = CancelToken::new();
    let mut run = pin!(bench.runner.run(claimed, cancel.clone()));
    for _ in 0..polls {
        if poll!(&mut run).is_ready() {
            return None;
        }
    }
    let place = place(bench, job_id);
    match how {
        Interruption::Death => {}
        Interruption::Shutdown => {
            cancel.cancel(StopReason::Shutdown);
            bench.to_the_end(run).await.unwrap();
        }
    }
    Some(place)
}

/// Where a run is: `in <step>`, `after <step>`, or `before`.
fn place(bench: &Bench, job_id: JobId) -> String {
    match bench.steps(job_id).last() {
        None => "before".to_owned(),
        Some(step) if step.status == StepStatus::Started => format!("in {}", step.name),
        Some(step) => format!("after {}", step.name),
    }
}

async fn every_interruption_ends_as_if_there_had_been_none(how: Interruption) {
    for kind in JobKind::ALL.iter().copied() {
        let expected = undisturbed(kind).await;
        let mut places = BTreeMap::<String, u32>::new();
        for polls in 0.. {
            let bench = Bench::new();
            let (node_id, job_id, worked) = waiting(&bench, kind).await;
            let Some(place) = interrupted(&bench, job_id, polls, how).await else {
                break;
            };
            let told = format!("{kind}, {how:?} {place} ({polls})");
            *places.entry(place).or_default() += 1;
            bench.jobs.recover(Recover::All).await.unwrap();
            // A run that was interrupted after its last write has nothing left to do.
            if bench.job(job_id).status != JobStatus::Succeeded {
                assert_eq!(bench.run().await, RunEnd::Settled(Outcome::Succeeded), "{told}");
            }
            assert_eq!(left_behind(&bench, node_id, job_id, &worked), expected, "{told}");
            check_machines(&bench, kind, &told);
        }
        for step in steps_of(kind) {
            assert!(
                places.get(&format!("in {step}")).is_some_and(|times| *times > 1),
                "{step}: {places:?}"
            );
            assert!(places.contains_key(&format!("after {step}")), "{step}: {places:?}");
        }
        let known: BTreeSet<_> = places
            .keys()
            .filter_map(|place| place.split_once(' '))
            .map(|(_, step)| step)
            .collect();
        assert_eq!(known, steps_of(kind).iter().copied().collect(), "{kind}");
    }
}

#[tokio::test]
async fn a_run_that_dies_in_or_after_any_step_of_any_workflow_and_is_resumed_ends_the_same() {
    every_interruption_ends_as_if_there_had_been_none(Interruption::Death).await;
}

#[tokio::test]
async fn a_run_shut_down_in_or_after_any_step_of_any_workflow_and_resumed_ends_the_same() {
    every_interruption_ends_as_if_there_had_been_none(Interruption::Shutdown).await;
}

#[tokio::test]
async fn a_run_whose_lease_is_lost_in_any_step_of_any_workflow_leaves_the_job_to_the_next() {
    for kind in JobKind::ALL.iter().copied() {
        let expected = undisturbed(kind).await;
        for polls in 0.. {
            let bench = Bench::new();
            let (node_id, job_id, worked) = waiting(&bench, kind).await;
            let claimed = bench.claim().await;
            let mut old = pin!(bench.runner.run(claimed, CancelToken::new()));
            let mut ended = false;
            for _ in 0..polls {
                ended = ended || poll!(&mut old).is_ready();
                if ended {
                    break;
                }
            }
            if ended {
                break;
            }
            bench.jobs.recover(Recover::All).await.unwrap();
            if bench.job(job_id).status != JobStatus::Succeeded {
                assert_eq!(bench.run().await, RunEnd::Settled(Outcome::Succeeded), "{kind} {polls}");
            }
            let end = bench.to_the_end(old).await.unwrap();
            let harmless = [RunEnd::LostLease, RunEnd::Settled(Outcome::Succeeded)];
            assert!(harmless.contains(&end), "{kind} {polls}: {end:?}");
            // What it was writing when it lost its claim it may leave behind, where nothing takes it for whole.
            bench.sites.files.clear_folder(node_id, "/var/lib/pressluft/staging/");
            bench.sites.storage.clear_unfinished();
            if kind != JobKind::NodeDecommission {
                assert_eq!(
                    left_behind(&bench, node_id, job_id, &worked),
                    expected,
                    "{kind} {polls}"
                );
            }
            check_machines(&bench, kind, &format!("{kind} {polls}"));
        }
    }
}

/// A workflow that does every step twice.
struct Twice(Arc<dyn Workflow>);

struct TwiceStep(Arc<dyn Step>);

#[async_trait]
impl Workflow for Twice {
    fn kind(&self) -> JobKind {
        self.0.kind()
    }

    fn steps(&self) -> Vec<Arc<dyn Step>> {
        let steps = self.0.steps().into_iter();
        steps.map(|step| Arc::new(TwiceStep(step)) as Arc<dyn Step>).collect()
    }

    fn time_limit(&self) -> Duration {
        self.0.time_limit()
    }

    async fn settle(&self, job: &Job, claim: &Claim, outcome: Outcome) -> Result<(), StoreError> {
        self.0.settle(job, claim, outcome).await
    }
}

#[async_trait]
impl Step for TwiceStep {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    async fn run(&self, job: &Job, context: &StepContext) -> Result<(), StepError> {
        self.0.run(job, context).await?;
        self.0.run(job, context).await
    }
}

#[tokio::test]
async fn a_workflow_that_does_every_step_twice_ends_the_same() {
    for kind in JobKind::ALL.iter().copied() {
        let bench = Bench::wrapping(|workflow| Arc::new(Twice(workflow)));
        let (node_id, job_id, worked) = waiting(&bench, kind).await;
        assert_eq!(bench.run().await, RunEnd::Settled(Outcome::Succeeded), "{kind}");
        assert_eq!(
            left_behind(&bench, node_id, job_id, &worked),
            undisturbed(kind).await,
            "{kind}"
        );
        check_machines(&bench, kind, kind.as_str());
    }
}
