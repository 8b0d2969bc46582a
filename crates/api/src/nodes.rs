//! `/api/nodes`.

use std::net::IpAddr;

use actix_web::{HttpRequest, HttpResponse, web};
use domain_kernel::{JobId, NodeId};
use http_session::{ApiError, Operator};
use nodes_domain::{NodeFilter, NodeName, NodeStatus, RemoteHost};
use operations::{CreateLocalNode, CreateRemoteNode, NodeJob};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::ApiState;
use crate::extract::{IdempotencyKey, JsonBody, NoBody, PathId, Query, field};
use crate::idempotency::{CreateHeaders, idempotency};
use crate::node_view::{NodeBody, ReadinessBody};
use crate::page::{Listed, next_cursor, page_request};
use crate::schema::NodeStatusText;

struct Nodes;

impl Listed for Nodes {
    const MARK: &'static str = "n1_";
    type Id = NodeId;
}

/// Which nodes are wanted.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct NodesQuery {
    /// Whether decommissioned nodes are listed too, where no status is wanted.
    #[param(default = false)]
    include_decommissioned: Option<bool>,
    /// Of this status.
    #[param(value_type = Option<NodeStatusText>)]
    status: Option<NodeStatus>,
    /// Whose name, host or address has this part; `a` to `z` stand for `A` to `Z` too.
    #[param(min_length = 1, max_length = 100)]
    q: Option<String>,
    /// Whether only nodes are listed that are unreachable or failed, or active and not ready when last looked at.
    #[param(default = false)]
    attention: Option<bool>,
    /// How many at most.
    #[param(minimum = 1, maximum = 100, default = 50)]
    limit: Option<u32>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Nodes, newest first.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"items": [], "next_cursor": "n1_01970000-0000-7000-8000-0123456789ab"}))]
pub(crate) struct NodeList {
    items: Vec<NodeBody>,
    /// What to ask for next; null on the last page.
    #[schema(required = true)]
    next_cursor: Option<String>,
}

/// A request for a node. The source decides which fields there are; neither source ever stands in for the other.
#[derive(Deserialize, ToSchema)]
#[serde(tag = "acquisition_source", rename_all = "lowercase", deny_unknown_fields)]
pub(crate) enum CreateNode {
    /// A machine that the configured local provider makes on the control plane's host.
    #[schema(example = json!({"acquisition_source": "local", "name": "first"}))]
    Local {
        /// Its name for people, 1 to 100 characters.
        #[schema(min_length = 1, max_length = 100)]
        name: Option<String>,
    },
    /// A host of the operator's, reached by SSH. Its login user has to be given Pressluft's key (`GET /api/ssh-key`), before or
    /// while the job waits for it.
    #[schema(example = json!({
        "acquisition_source": "remote",
        "hostname": "web-1.example.test",
        "ssh_user": "root",
        "ssh_port": 22
    }))]
    Remote {
        /// Its name for people, 1 to 100 characters.
        #[schema(min_length = 1, max_length = 100)]
        name: Option<String>,
        /// The name or address for SSH.
        #[schema(min_length = 1, max_length = 253)]
        hostname: String,
        /// The login user; needs sudo without a password.
        #[schema(min_length = 1, max_length = 32)]
        ssh_user: String,
        /// The SSH port; 22 where none is given.
        #[schema(minimum = 1, maximum = 65535)]
        ssh_port: Option<i64>,
        /// The address that sites are served from, where it is another.
        public_ip: Option<String>,
        /// The host key's fingerprint, `SHA256:...`. Without one, the key of the first contact is pinned and shown.
        host_key_fingerprint: Option<String>,
    },
}

/// A job that was accepted for a node.
#[derive(Serialize, ToSchema)]
#[schema(as = NodeJob, example = json!({
    "job_id": "01970000-0000-7000-8000-00000000000b",
    "node_id": "01970000-0000-7000-8000-0123456789ab"
}))]
pub(crate) struct NodeJobBody {
    /// The job.
    #[schema(value_type = String, format = "uuid")]
    job_id: JobId,
    /// The node.
    #[schema(value_type = String, format = "uuid")]
    node_id: NodeId,
}

impl From<NodeJob> for NodeJobBody {
    fn from(NodeJob { job_id, node_id }: NodeJob) -> Self {
        Self { job_id, node_id }
    }
}

/// Nodes, newest first.
#[utoipa::path(
    get, path = "/api/nodes", operation_id = "list_nodes", tag = "nodes", params(NodesQuery),
    responses((status = 200, description = "A page of nodes.", body = NodeList))
)]
pub(crate) async fn list(
    state: web::Data<ApiState>,
    Query(query): Query<NodesQuery>,
) -> Result<HttpResponse, ApiError> {
    let request = page_request::<Nodes>(query.limit, query.cursor.as_deref())?;
    let filter = NodeFilter {
        include_decommissioned: query.include_decommissioned.unwrap_or(false),
        status: query.status,
        search: query.q.as_deref().map(|text| field("q", text)).transpose()?,
        needs_attention: query.attention.unwrap_or(false),
    };
    let page = state.nodes.list(&filter, &request).await?;
    let now = state.clock.now();
    Ok(HttpResponse::Ok().json(NodeList {
        next_cursor: next_cursor::<Nodes, _>(&page),
        items: page.items.into_iter().map(|node| NodeBody::new(node, now)).collect(),
    }))
}

/// Asks for a node. It is accepted at once; a job makes it.
#[utoipa::path(
    post, path = "/api/nodes", operation_id = "create_node", tag = "nodes", request_body = CreateNode,
    params(CreateHeaders),
    responses((
        status = 202, description = "Accepted.", body = NodeJobBody,
        headers(("Idempotency-Replayed" = bool, description = "`true` where an earlier request with the same key was accepted"))
    ))
)]
pub(crate) async fn create(
    state: web::Data<ApiState>,
    operator: Operator,
    IdempotencyKey(key): IdempotencyKey,
    request: HttpRequest,
    body: JsonBody<CreateNode>,
) -> Result<HttpResponse, ApiError> {
    let by = Some(operator.session.account_id);
    let idempotency = idempotency(operator.session.account_id, key, &request, &body.raw);
    let created = match accept(body.value)? {
        Accepted::Local(local) => state.nodes.create_local(local, idempotency, by).await?,
        Accepted::Remote(remote) => state.nodes.create_remote(remote, idempotency, by).await?,
    };
    let mut response = HttpResponse::Accepted();
    if created.replayed {
        response.insert_header(("Idempotency-Replayed", "true"));
    }
    Ok(response.json(NodeJobBody {
        job_id: created.job_id,
        node_id: created.node_id,
    }))
}

/// A request whose fields have the right form.
enum Accepted {
    Local(CreateLocalNode),
    Remote(CreateRemoteNode),
}

fn accept(request: CreateNode) -> Result<Accepted, ApiError> {
    Ok(match request {
        CreateNode::Local { name } => Accepted::Local(CreateLocalNode { name: node_name(name)? }),
        CreateNode::Remote {
            name,
            hostname,
            ssh_user,
            ssh_port,
            public_ip,
            host_key_fingerprint,
        } => Accepted::Remote(CreateRemoteNode {
            name: node_name(name)?,
            host: RemoteHost {
                hostname: field("hostname", &hostname)?,
                ssh_port: ssh_port_of(ssh_port)?,
                ssh_user: field("ssh_user", &ssh_user)?,
                public_ip: public_ip.as_deref().map(public_address).transpose()?,
                host_key_fingerprint: host_key_fingerprint
                    .as_deref()
                    .map(|text| field("host_key_fingerprint", text))
                    .transpose()?,
            },
        }),
    })
}

/// A TCP port; 22 where none is given.
fn ssh_port_of(port: Option<i64>) -> Result<u16, ApiError> {
    let port = u16::try_from(port.unwrap_or(22)).ok().filter(|port| *port > 0);
    port.ok_or_else(|| ApiError::bad_request("`ssh_port`: expected a number from 1 to 65535."))
}

fn public_address(text: &str) -> Result<IpAddr, ApiError> {
    text.parse()
        .map_err(|_| ApiError::bad_request("`public_ip`: expected an IPv4 or IPv6 address."))
}

fn node_name(name: Option<String>) -> Result<Option<NodeName>, ApiError> {
    let name = name.map(|name| name.parse()).transpose();
    name.map_err(|error: nodes_domain::NameError| ApiError::bad_request(format!("`name`: {error}.")))
}

/// One node.
#[utoipa::path(
    get, path = "/api/nodes/{id}", operation_id = "node", tag = "nodes",
    params(("id" = String, Path, format = "uuid", description = "The node's id")),
    responses((status = 200, description = "The node.", body = NodeBody))
)]
pub(crate) async fn show(state: web::Data<ApiState>, PathId(id): PathId<NodeId>) -> Result<HttpResponse, ApiError> {
    let node = state.nodes.get(id).await?;
    Ok(HttpResponse::Ok().json(NodeBody::new(node, state.clock.now())))
}

/// Asks for a node to be given back. A job of it that only waits is cancelled; while one runs, this is a conflict.
#[utoipa::path(
    delete, path = "/api/nodes/{id}", operation_id = "delete_node", tag = "nodes",
    params(("id" = String, Path, format = "uuid", description = "The node's id")),
    responses((status = 202, description = "Accepted.", body = NodeJobBody))
)]
pub(crate) async fn delete(
    state: web::Data<ApiState>,
    operator: Operator,
    PathId(id): PathId<NodeId>,
    _body: NoBody,
) -> Result<HttpResponse, ApiError> {
    let job = state.nodes.delete(id, Some(operator.session.account_id)).await?;
    Ok(HttpResponse::Accepted().json(NodeJobBody::from(job)))
}

/// Asks for a node to be provisioned again.
#[utoipa::path(
    post, path = "/api/nodes/{id}/provision", operation_id = "provision_node", tag = "nodes",
    params(("id" = String, Path, format = "uuid", description = "The node's id")),
    responses((status = 202, description = "Accepted.", body = NodeJobBody))
)]
pub(crate) async fn provision(
    state: web::Data<ApiState>,
    operator: Operator,
    PathId(id): PathId<NodeId>,
    _body: NoBody,
) -> Result<HttpResponse, ApiError> {
    let job = state.nodes.provision(id, Some(operator.session.account_id)).await?;
    Ok(HttpResponse::Accepted().json(NodeJobBody::from(job)))
}

/// Looks at a node's machine now, over SSH, within 10 seconds.
#[utoipa::path(
    post, path = "/api/nodes/{id}/readiness-check", operation_id = "check_node", tag = "nodes",
    params(("id" = String, Path, format = "uuid", description = "The node's id")),
    responses((status = 200, description = "What was seen.", body = ReadinessBody))
)]
pub(crate) async fn check(
    state: web::Data<ApiState>,
    PathId(id): PathId<NodeId>,
    _body: NoBody,
) -> Result<HttpResponse, ApiError> {
    let readiness = state.nodes.check_readiness(id).await?;
    Ok(HttpResponse::Ok().json(ReadinessBody::from(readiness)))
}

/// A host key that the operator knows.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"fingerprint": "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}))]
pub(crate) struct PinHostKey {
    /// The fingerprint of a host key that the machine shows, as `ssh-keygen -lf` prints it on the machine itself.
    #[schema(min_length = 50, max_length = 50)]
    fingerprint: String,
}

/// Pins another host key of a remote node, known by its fingerprint, within 10 seconds. The machine has to show it.
#[utoipa::path(
    post, path = "/api/nodes/{id}/host-key", operation_id = "pin_host_key", tag = "nodes", request_body = PinHostKey,
    params(("id" = String, Path, format = "uuid", description = "The node's id")),
    responses((status = 200, description = "The node.", body = NodeBody))
)]
pub(crate) async fn pin_host_key(
    state: web::Data<ApiState>,
    operator: Operator,
    PathId(id): PathId<NodeId>,
    body: JsonBody<PinHostKey>,
) -> Result<HttpResponse, ApiError> {
    let fingerprint = field("fingerprint", &body.value.fingerprint)?;
    let by = Some(operator.session.account_id);
    let node = state.nodes.pin_host_key(id, fingerprint, by).await?;
    Ok(HttpResponse::Ok().json(NodeBody::new(node, state.clock.now())))
}
