//! What the templates are given: plain texts, already in the words that people read.

pub(crate) mod activity;
pub(crate) mod backup;
pub(crate) mod chart;
pub(crate) mod concern;
pub(crate) mod course;
pub(crate) mod create;
pub(crate) mod environment;
pub(crate) mod filter;
pub(crate) mod job;
pub(crate) mod job_line;
pub(crate) mod job_link;
pub(crate) mod job_list;
pub(crate) mod job_text;
pub(crate) mod node;
pub(crate) mod node_job;
pub(crate) mod node_page;
pub(crate) mod overview;
pub(crate) mod provider;
pub(crate) mod site;
pub(crate) mod site_form;
pub(crate) mod text;
pub(crate) mod timeline;
pub(crate) mod turn;
pub(crate) mod wait;
pub(crate) mod when;
