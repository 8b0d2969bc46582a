//! The HTTP API: handlers over the use cases of `operations`, the types of requests and responses, and the contract
//! (OpenAPI and registries) that is generated from them. No SQL, no process, no decision about nodes or jobs is made here.

mod contracts;
mod events;
mod extract;
mod idempotency;
mod jobs;
mod node_view;
mod nodes;
mod openapi;
mod page;
mod providers;
mod routes;
mod schema;
mod session;
mod sites;
mod ssh_key;
mod state;
mod status;
mod stream;
mod yaml;

pub use contracts::{contracts, documents, error_schema_json, openapi_yaml};
pub use openapi::openapi;
pub use routes::configure;
pub use state::{ApiState, Health};
pub use stream::Streams;
