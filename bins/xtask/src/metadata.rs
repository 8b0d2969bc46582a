//! What `cargo metadata` says, as far as the checks need it.

use anyhow::{Context, Result};
use serde_json::Value;

/// Packages and who needs them.
#[derive(Debug, Default)]
pub(crate) struct Metadata {
    /// The packages.
    pub(crate) packages: Vec<Package>,
    /// Pairs of package ids: the first depends on the second. Empty with `--no-deps`.
    pub(crate) edges: Vec<(String, String)>,
}

/// A package.
#[derive(Debug)]
pub(crate) struct Package {
    /// Cargo's id.
    pub(crate) id: String,
    /// Its name.
    pub(crate) name: String,
    /// Its version.
    pub(crate) version: String,
    /// Its licence expression.
    pub(crate) licence: Option<String>,
    /// What its manifest names.
    pub(crate) dependencies: Vec<Dependency>,
}

/// A dependency as a manifest names it.
#[derive(Debug)]
pub(crate) struct Dependency {
    /// The package's name, whatever it is renamed to.
    pub(crate) name: String,
    /// Whether it serves tests, examples and benchmarks only.
    pub(crate) dev: bool,
}

impl Metadata {
    /// Reads cargo's JSON.
    pub(crate) fn parse(json: &str) -> Result<Self> {
        Self::from_value(&serde_json::from_str(json)?).context("`cargo metadata` printed something unknown")
    }

    /// The package with an id.
    pub(crate) fn package(&self, id: &str) -> Option<&Package> {
        self.packages.iter().find(|package| package.id == id)
    }

    fn from_value(value: &Value) -> Option<Self> {
        let packages = value.get("packages")?.as_array()?.iter().map(package);
        let nodes = value.pointer("/resolve/nodes").and_then(Value::as_array);
        let edges = nodes.into_iter().flatten().flat_map(edges).collect();
        Some(Self {
            packages: packages.collect::<Option<_>>()?,
            edges,
        })
    }
}

fn package(value: &Value) -> Option<Package> {
    let dependencies = value.get("dependencies")?.as_array()?.iter().map(dependency);
    Some(Package {
        id: text(value, "id")?,
        name: text(value, "name")?,
        version: text(value, "version")?,
        licence: text(value, "license"),
        dependencies: dependencies.collect::<Option<_>>()?,
    })
}

fn dependency(value: &Value) -> Option<Dependency> {
    Some(Dependency {
        name: text(value, "name")?,
        dev: value.get("kind")?.as_str() == Some("dev"),
    })
}

fn edges(node: &Value) -> Vec<(String, String)> {
    let from = text(node, "id").unwrap_or_default();
    let to = node.get("dependencies").and_then(Value::as_array).into_iter().flatten();
    to.filter_map(|id| Some((from.clone(), id.as_str()?.to_owned())))
        .collect()
}

fn text(value: &Value, key: &str) -> Option<String> {
    value.get(key)?.as_str().map(str::to_owned)
}
