//! Requests about nodes under load: 50 callers at once, 1,000 nodes in the database.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use crate::caller::Caller;
use crate::local_server::LocalServer;
use crate::report::Row;
use crate::sample::Sample;

/// Callers at once, each on a connection of its own.
const CALLERS: usize = 50;
/// Requests of each caller to fill the database: 1,000 nodes.
const NODES_EACH: usize = 20;
/// Lists that each caller asks for.
const LISTS_EACH: usize = 40;

pub(crate) fn run() -> anyhow::Result<Vec<Row>> {
    let server = LocalServer::start()?;
    let caller = server.caller()?;
    let create = |caller: &Caller| caller.create_node().map(|_| ());
    load(&caller, NODES_EACH, create)?;
    // Both also warm up what they measure: connections, caches, the pool of threads.
    load(&caller, 2, list)?;
    let lists = load(&caller, LISTS_EACH, list)?;
    let creations = load(&caller, NODES_EACH, create)?;
    server.stop()?;
    Ok([
        lists.rows("GET /api/nodes, 50 callers, 1,000 nodes"),
        creations.rows("POST /api/nodes, 50 callers, 1,000 nodes"),
    ]
    .into_iter()
    .flatten()
    .collect())
}

fn list(caller: &Caller) -> anyhow::Result<()> {
    caller.get("/api/nodes").map(|_| ())
}

struct Load {
    per_second: f64,
    took: Sample,
}

impl Load {
    fn rows(&self, what: &str) -> [Row; 2] {
        [
            Row::new(what, "ms", self.took.spread()),
            Row::new(format!("{what}: rate"), "requests/s", vec![("", self.per_second)]),
        ]
    }
}

/// Every caller asks `each` times in a row, all callers at once.
fn load(
    first: &Caller,
    each: usize,
    request: impl Fn(&Caller) -> anyhow::Result<()> + Send + Sync,
) -> anyhow::Result<Load> {
    let ready = Barrier::new(CALLERS + 1);
    let one = |caller: Caller| {
        ready.wait();
        let mut took = Vec::with_capacity(each);
        for _ in 0..each {
            let begin = Instant::now();
            request(&caller)?;
            took.push(begin.elapsed());
        }
        anyhow::Ok(took)
    };
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..CALLERS)
            .map(|_| {
                let caller = first.another();
                scope.spawn(|| one(caller))
            })
            .collect();
        ready.wait();
        let begin = Instant::now();
        let mut took: Vec<Duration> = Vec::new();
        for caller in callers {
            took.extend(caller.join().map_err(|_| anyhow::anyhow!("a caller panicked"))??);
        }
        Ok(Load {
            per_second: took.len() as f64 / begin.elapsed().as_secs_f64(),
            took: Sample::in_ms(took),
        })
    })
}
