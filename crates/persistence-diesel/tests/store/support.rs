//! Databases for tests, and what most tests begin with.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use accounts_domain::{AccountStore, NewAccount, PasswordHash};
use diesel::connection::SimpleConnection;
use diesel::{Connection, PgConnection, SqliteConnection};
use domain_kernel::{AccountId, Clock, JobErrorCode, JobId, NodeId, Timestamp};
use jobs::{
    Claim, ClaimedJob, ExclusionKey, Failure, Job, JobCatalog, JobKind, JobStore, NewJob, StepRecord, WorkerId,
};
use nodes_domain::{AcquisitionSource, HostKey, NewNode, Node, NodeName, NodeStore, NodeTarget, ProviderId, Readiness};
use persistence_diesel::Database;
use test_support::ManualClock;

pub(crate) const LEASE: Duration = Duration::from_secs(60);
pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// A test that runs on every kind of database.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) run: fn(TestDatabase) -> Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// Declares tests: each runs on SQLite under its own name, and is listed in `CASES` for PostgreSQL.
macro_rules! store_tests {
    ($(async fn $name:ident($db:ident) $body:block)*) => {
        pub(crate) const CASES: &[crate::support::Case] = &[$(crate::support::Case {
            name: concat!(module_path!(), "::", stringify!($name)),
            run: |database| Box::pin($name::case(database)),
        },)*];

        $(mod $name {
            #[allow(unused_imports)]
            use super::*;

            pub(super) async fn case($db: crate::support::TestDatabase) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_sqlite() {
                case(crate::support::TestDatabase::sqlite()).await;
            }
        })*
    };
}
pub(crate) use store_tests;

/// A migrated database with a clock that stands still.
pub(crate) struct TestDatabase {
    pub(crate) store: Database,
    pub(crate) clock: Arc<ManualClock>,
    url: String,
    _folder: Option<tempfile::TempDir>,
}

/// A connection past the stores.
pub(crate) enum Raw {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl TestDatabase {
    pub(crate) fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("pressluft.sqlite").display());
        Self::open(url, Some(folder))
    }

    /// An empty database of a PostgreSQL server.
    pub(crate) fn postgres(url: String) -> Self {
        Self::open(url, None)
    }

    fn open(url: String, folder: Option<tempfile::TempDir>) -> Self {
        let clock = Arc::new(ManualClock::new());
        let store = Database::open(&url, clock.clone()).unwrap();
        store.migrate().unwrap();
        Self {
            store,
            clock,
            url,
            _folder: folder,
        }
    }

    /// A second handle on the same database, as another process has it.
    pub(crate) fn another(&self) -> Database {
        Database::open(&self.url, self.clock.clone()).unwrap()
    }

    pub(crate) fn raw(&self) -> Raw {
        match self.url.strip_prefix("sqlite:") {
            Some(path) => Raw::Sqlite(SqliteConnection::establish(path).unwrap()),
            None => Raw::Postgres(PgConnection::establish(&self.url).unwrap()),
        }
    }

    /// Runs statements past the stores.
    pub(crate) fn execute(&self, statements: &str) {
        self.try_execute(statements).unwrap();
    }

    pub(crate) fn try_execute(&self, statements: &str) -> diesel::QueryResult<()> {
        match self.raw() {
            Raw::Sqlite(mut connection) => {
                connection.batch_execute("PRAGMA busy_timeout = 10000")?;
                connection.batch_execute(statements)
            }
            Raw::Postgres(mut connection) => connection.batch_execute(statements),
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Writes a node with the job that makes it.
    pub(crate) async fn create_node(&self) -> (NodeId, JobId) {
        self.create_node_with_keys(&[]).await
    }

    /// Writes a node whose job needs more keys than the node's own.
    pub(crate) async fn create_node_with_keys(&self, keys: &[ExclusionKey]) -> (NodeId, JobId) {
        let node = new_node();
        let mut job = NewJob::on_node(JobKind::NodeProvision, node.id, 3);
        job.exclusion_keys.extend_from_slice(keys);
        let created = self.store.create(node, job, None).await.unwrap();
        (created.node_id, created.job_id)
    }

    pub(crate) async fn claim(&self) -> Option<ClaimedJob> {
        self.store.claim(&worker("one"), LEASE).await.unwrap()
    }

    /// Writes a node and claims the job that makes it.
    pub(crate) async fn running_job(&self) -> (NodeId, Claim) {
        let (node_id, job_id) = self.create_node().await;
        let claimed = self.claim().await.unwrap();
        assert_eq!(claimed.job.id, job_id);
        (node_id, claimed.claim)
    }

    pub(crate) async fn job(&self, id: JobId) -> Job {
        JobCatalog::job(&self.store, id).await.unwrap().unwrap().job
    }

    /// The claim of the oldest job that is due.
    pub(crate) async fn store_claim(&self) -> jobs::Claim {
        self.claim().await.unwrap().claim
    }

    pub(crate) async fn steps(&self, id: JobId) -> Vec<StepRecord> {
        JobCatalog::job(&self.store, id).await.unwrap().unwrap().steps
    }

    pub(crate) async fn node(&self, id: NodeId) -> Node {
        NodeStore::node(&self.store, id).await.unwrap().unwrap()
    }

    pub(crate) async fn create_account(&self, email: &str) -> AccountId {
        let id = AccountId::generate();
        let account = NewAccount {
            id,
            email: email.parse().unwrap(),
            password_hash: PasswordHash::new("$argon2id$first"),
        };
        self.store.create_account(account).await.unwrap();
        id
    }
}

pub(crate) fn worker(name: &str) -> WorkerId {
    WorkerId::new(name)
}

pub(crate) fn new_node() -> NewNode {
    let id = NodeId::generate();
    NewNode {
        id,
        name: NodeName::default_for(id),
        source: AcquisitionSource::Local,
        provider: ProviderId::new("nspawn"),
        host_id: "host-1".to_owned(),
        remote: None,
    }
}

pub(crate) fn failure(detail: &str) -> Failure {
    Failure::new(JobErrorCode::NodeNotReady, detail)
}

pub(crate) fn target() -> NodeTarget {
    let key: HostKey = format!("ssh-ed25519 {}", "A".repeat(68)).parse().unwrap();
    NodeTarget {
        hostname: "10.0.0.7".to_owned(),
        public_ip: Some("10.0.0.7".parse().unwrap()),
        ssh_port: 22,
        ssh_user: "pressluft".to_owned(),
        ssh_private_key_path: PathBuf::from("/var/lib/pressluft/keys/id_ed25519"),
        host_key: key,
    }
}

pub(crate) fn ready(at: Timestamp) -> Readiness {
    Readiness {
        is_ready: true,
        reason_codes: vec![],
        guidance: vec![],
        evidence: vec![],
        checked_at: at,
    }
}
