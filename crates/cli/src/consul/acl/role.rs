//! `consul acl role`.

use std::fmt::Write;

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};

use super::super::client::{Ask, Client};
use super::super::command::{Call, Command, Outcome, Reach};
use super::super::flags::{Flag, text};
use super::super::print::{field, list};
use super::{FORMAT, Kind, META, NO_MERGE, add_meta, line, links, show};
use crate::list::encoded;

pub(super) const ROLE: Kind =
    Kind { noun: "role", all: "/v1/acl/roles", id: "ID", one: "/v1/acl/role" };

const ID: Flag = text("id", "ID of the role, or its beginning.");
const NAME: Flag = text("name", "Name of the role.");
const DESCRIPTION: Flag = text("description", "What the role is for.");

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "acl role create",
        synopsis: "Makes a role.",
        arguments: "[options] -name NAME",
        flags: &[
            DESCRIPTION,
            FORMAT,
            META,
            NAME,
            links::NODE,
            links::POLICY_ID,
            links::POLICY_NAME,
            links::SERVICE,
            links::TEMPLATE,
            links::TEMPLATE_FILE,
            links::VARIABLE,
        ],
        reach: Reach::Agent,
        run: create,
    },
    Command {
        name: "acl role read",
        synopsis: "Prints a role.",
        arguments: "[options] -id ID | -name NAME",
        flags: &[FORMAT, ID, META, NAME],
        reach: Reach::Agent,
        run: read,
    },
    Command {
        name: "acl role update",
        synopsis: "Changes a role.",
        arguments: "[options] -id ID",
        flags: &[
            DESCRIPTION,
            FORMAT,
            ID,
            META,
            NAME,
            NO_MERGE,
            links::NODE,
            links::POLICY_ID,
            links::POLICY_NAME,
            links::SERVICE,
            links::TEMPLATE,
            links::TEMPLATE_FILE,
            links::VARIABLE,
        ],
        reach: Reach::Agent,
        run: update,
    },
    Command {
        name: "acl role delete",
        synopsis: "Removes a role.",
        arguments: "[options] -id ID | -name NAME",
        flags: &[ID, NAME],
        reach: Reach::Agent,
        run: |call| {
            let client = call.client()?;
            let role = find(call, &client)?;
            ROLE.delete(&client, field(&role, "ID"))
        },
    },
    Command {
        name: "acl role list",
        synopsis: "Lists the roles.",
        arguments: "[options]",
        flags: &[FORMAT, META],
        reach: Reach::Agent,
        run: list_all,
    },
];

/// The role that the flags mean.
fn find(call: &Call, client: &Client) -> anyhow::Result<Value> {
    let (path, missing) = match (call.text("id"), call.text("name")) {
        ("", "") => bail!("Must specify either the -id or -name parameters"),
        ("", name) => {
            let path = format!("/v1/acl/role/name/{}", encoded(name));
            (path, format!("Role not found with name {name:?}"))
        }
        (id, _) => {
            let id = ROLE.id(client, id).context("Error determining role ID")?;
            (ROLE.path(&id), format!("Role not found with ID {id:?}"))
        }
    };
    let found = client.find(&Ask::get(path)).context("Error reading role")?;
    found.context(missing)
}

fn create(call: &Call) -> Outcome {
    ensure!(!call.text("name").is_empty(), "Missing required '-name' flag");
    let client = call.client()?;
    let mut role = links::given(call, &client, "", false)?;
    ensure!(
        !role.is_empty(),
        "Cannot create a role without specifying -policy-name, -policy-id, -service-identity, \
         -node-identity, or -templated-policy at least once"
    );
    role.insert("Name".to_owned(), call.text("name").into());
    role.insert("Description".to_owned(), call.text("description").into());
    let ask = Ask::put(ROLE.one).json(&Value::Object(role));
    let role = client.json(&ask).context("Failed to create new role")?;
    show(call, &role, |role| pretty(role, call.is("meta")))
}

fn read(call: &Call) -> Outcome {
    let role = find(call, &call.client()?)?;
    show(call, &role, |role| pretty(role, call.is("meta")))
}

fn update(call: &Call) -> Outcome {
    ensure!(
        !call.text("id").is_empty(),
        "Cannot update a role without specifying the -id parameter"
    );
    let client = call.client()?;
    let id = ROLE.id(&client, call.text("id")).context("Error determining role ID")?;
    let known = client.find(&Ask::get(ROLE.path(&id)));
    let known = known.context("Error when retrieving current role")?;
    let known = known.with_context(|| format!("Role not found with ID {id:?}"))?;
    let mut role = if call.is("no-merge") { json!({"ID": id}) } else { known };
    for (flag, name) in [("name", "Name"), ("description", "Description")] {
        if !call.text(flag).is_empty() {
            role[name] = call.text(flag).into();
        }
    }
    links::add(&mut role, links::given(call, &client, "", false)?);
    let ask = Ask::put(ROLE.path(&id)).json(&role);
    let role = client.json(&ask).with_context(|| format!("Error updating role {id:?}"))?;
    show(call, &role, |role| pretty(role, call.is("meta")))
}

fn list_all(call: &Call) -> Outcome {
    let all = call.client()?.json(&Ask::get(ROLE.all));
    let all = all.context("Failed to retrieve the role list")?;
    show(call, &all, |all| {
        let mut text = String::new();
        for role in list(all) {
            line!(text, "{}:", field(role, "Name"));
            line!(text, "   ID:           {}", field(role, "ID"));
            line!(text, "   Description:  {}", field(role, "Description"));
            if call.is("meta") {
                add_meta(&mut text, role, "   ", 14);
            }
            links::pretty(&mut text, role, "   ");
        }
        text
    })
}

/// A role as text; `meta`: with hash and indexes.
pub(super) fn pretty(role: &Value, meta: bool) -> String {
    let mut text = String::new();
    line!(text, "ID:           {}", field(role, "ID"));
    line!(text, "Name:         {}", field(role, "Name"));
    line!(text, "Description:  {}", field(role, "Description"));
    if meta {
        add_meta(&mut text, role, "", 14);
    }
    links::pretty(&mut text, role, "");
    text
}
