//! `consul acl token`.

use std::fmt::Write;

use anyhow::{Context, bail, ensure};
use serde_json::{Map, Value, json};

use super::super::client::{Ask, Client};
use super::super::command::{Call, Command, Outcome, Reach};
use super::super::flags::{Flag, Kind as FlagKind, flag, list as list_flag, switch, text};
use super::super::print::{field, items, list, time};
use super::{FORMAT, Kind, META, add_meta, line, links, policy, role, show};
use crate::output::note;

const TOKEN: Kind =
    Kind { noun: "token", all: "/v1/acl/tokens", id: "AccessorID", one: "/v1/acl/token" };

const ACCESSOR: Flag = text("accessor-id", "Accessor ID of the token, or its beginning.");
const ID: Flag = text("id", "The same as -accessor-id.");
const DESCRIPTION: Flag = text("description", "What the token is for.");

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "acl token create",
        synopsis: "Makes a token.",
        arguments: "[options]",
        flags: &[
            text("accessor", "Accessor ID of the token; made up if left out."),
            DESCRIPTION,
            flag("expires-ttl", FlagKind::Duration, "How long the token is valid."),
            FORMAT,
            switch("local", "The token is valid in this datacenter alone."),
            META,
            links::NODE,
            links::POLICY_ID,
            links::POLICY_NAME,
            links::ROLE_ID,
            links::ROLE_NAME,
            text("secret", "Secret ID of the token; made up if left out."),
            links::SERVICE,
            links::TEMPLATE,
            links::TEMPLATE_FILE,
            links::VARIABLE,
        ],
        reach: Reach::Agent,
        run: create,
    },
    Command {
        name: "acl token read",
        synopsis: "Prints a token.",
        arguments: "[options] -accessor-id ID | -self",
        flags: &[
            ACCESSOR,
            ID,
            switch("expanded", "Print the policies and roles that it has as well."),
            FORMAT,
            META,
            switch("self", "Print the token of the request."),
        ],
        reach: Reach::Agent,
        run: read,
    },
    Command {
        name: "acl token update",
        synopsis: "Changes a token. Its identities are replaced unless they are appended to.",
        arguments: "[options] -accessor-id ID",
        flags: &[
            ACCESSOR,
            ID,
            list_flag("append-node-identity", "Node identity to add."),
            list_flag("append-policy-id", "ID of a policy to add."),
            list_flag("append-policy-name", "Name of a policy to add."),
            list_flag("append-role-id", "ID of a role to add."),
            list_flag("append-role-name", "Name of a role to add."),
            list_flag("append-service-identity", "Service identity to add."),
            DESCRIPTION,
            FORMAT,
            switch("merge-node-identities", "Add node identities; -append-… does the same."),
            switch("merge-policies", "Add policies; -append-… does the same."),
            switch("merge-roles", "Add roles; -append-… does the same."),
            switch("merge-service-identities", "Add service identities; -append-… does the same."),
            META,
            links::NODE,
            links::POLICY_ID,
            links::POLICY_NAME,
            links::ROLE_ID,
            links::ROLE_NAME,
            links::SERVICE,
            links::TEMPLATE,
            links::TEMPLATE_FILE,
            links::VARIABLE,
        ],
        reach: Reach::Agent,
        run: update,
    },
    Command {
        name: "acl token clone",
        synopsis: "Makes a token that may do what another may.",
        arguments: "[options] -accessor-id ID",
        flags: &[ACCESSOR, ID, DESCRIPTION, FORMAT, META],
        reach: Reach::Agent,
        run: clone,
    },
    Command {
        name: "acl token delete",
        synopsis: "Removes a token.",
        arguments: "[options] -accessor-id ID",
        flags: &[ACCESSOR, ID],
        reach: Reach::Agent,
        run: |call| {
            let client = call.client()?;
            TOKEN.delete(&client, &accessor(call, &client)?)
        },
    },
    Command {
        name: "acl token list",
        synopsis: "Lists the tokens.",
        arguments: "[options]",
        flags: &[FORMAT, META],
        reach: Reach::Agent,
        run: list_all,
    },
];

/// The whole accessor ID that the flags mean.
fn accessor(call: &Call, client: &Client) -> anyhow::Result<String> {
    let partial = match (call.text("accessor-id"), call.text("id")) {
        ("", "") => bail!("Must specify the -accessor-id parameter"),
        ("", id) => {
            note("Use the -accessor-id parameter to specify token by Accessor ID");
            id
        }
        (accessor, _) => accessor,
    };
    TOKEN.id(client, partial).context("Error determining token ID")
}

fn create(call: &Call) -> Outcome {
    let client = call.client()?;
    let mut token = links::given(call, &client, "", true)?;
    ensure!(
        !token.is_empty(),
        "Cannot create a token without specifying -policy-name, -policy-id, -role-name, -role-id, \
         -service-identity, -node-identity, or -templated-policy at least once"
    );
    for (flag, name) in [
        ("description", "Description"),
        ("accessor", "AccessorID"),
        ("secret", "SecretID"),
        ("expires-ttl", "ExpirationTTL"),
    ] {
        if call.has(flag) {
            token.insert(name.to_owned(), call.text(flag).into());
        }
    }
    token.insert("Local".to_owned(), call.is("local").into());
    let ask = Ask::put(TOKEN.one).json(&Value::Object(token));
    let token = client.json(&ask).context("Failed to create new token")?;
    show(call, &token, |token| pretty(token, call.is("meta")))
}

fn read(call: &Call) -> Outcome {
    let client = call.client()?;
    let expanded = call.is("expanded");
    if call.is("self") {
        ensure!(
            !expanded,
            "Cannot use both -expanded and -self. Instead, use -expanded and -accessor-id=<accessor \
             id>."
        );
        let token = client.json(&Ask::get("/v1/acl/token/self")).context("Error reading token")?;
        return show(call, &token, |token| pretty(token, call.is("meta")));
    }
    let id = accessor(call, &client)?;
    let ask = Ask::get(TOKEN.path(&id)).with_mark("expanded", expanded);
    let token = client.json(&ask).with_context(|| format!("Error reading token {id:?}"))?;
    show(call, &token, |token| {
        let mut text = pretty(token, call.is("meta"));
        for policy in items(token, "ExpandedPolicies") {
            line!(text, "\n{}", policy::pretty(policy, call.is("meta")));
        }
        for role in items(token, "ExpandedRoles") {
            line!(text, "\n{}", role::pretty(role, call.is("meta")));
        }
        text
    })
}

/// Flags of an update: what is replaced, what is appended, and the switch that makes the first the second.
const UPDATES: [(&[&str], &str, &[&str]); 4] = [
    (&["policy-id", "policy-name"], "merge-policies", &["Policies"]),
    (&["role-id", "role-name"], "merge-roles", &["Roles"]),
    (&["service-identity"], "merge-service-identities", &["ServiceIdentities"]),
    (&["node-identity"], "merge-node-identities", &["NodeIdentities"]),
];

fn update(call: &Call) -> Outcome {
    let client = call.client()?;
    let id = accessor(call, &client)?;
    let token = client.json(&Ask::get(TOKEN.path(&id)));
    let mut token = token.context("Error when retrieving current token")?;
    if !call.text("description").is_empty() {
        token["Description"] = call.text("description").into();
    }
    let mut added: Map<String, Value> = links::given(call, &client, "append-", true)?;
    for (name, list) in links::given(call, &client, "", true)? {
        let update = UPDATES.iter().find(|(_, _, fields)| fields.contains(&name.as_str()));
        if let Some((flags, merge, _)) = update {
            ensure!(
                !added.contains_key(&name),
                "Cannot combine the use of {} with append- variants. To replace, use the first; to add \
                 to what is there, the others.",
                flags.join("/")
            );
            if call.is(merge) {
                added.insert(name, list);
                continue;
            }
        }
        token[name] = list;
    }
    for (_, merge, fields) in &UPDATES[2..] {
        let name = fields[0];
        let is_kept = added.contains_key(name) || call.is(merge);
        let flag = if name == "NodeIdentities" { "node-identity" } else { "service-identity" };
        // Identities that are not given anew are forgotten, as Consul forgets them.
        if !is_kept && !call.has(flag) {
            token[name] = json!([]);
        }
    }
    links::add(&mut token, added);
    let ask = Ask::put(TOKEN.path(&id)).json(&token);
    let token = client.json(&ask).with_context(|| format!("Failed to update token {id}"))?;
    show(call, &token, |token| pretty(token, call.is("meta")))
}

fn clone(call: &Call) -> Outcome {
    let client = call.client()?;
    let id = accessor(call, &client)?;
    let body = json!({"Description": call.text("description")});
    let ask = Ask::put(format!("{}/clone", TOKEN.path(&id))).json(&body);
    let token = client.json(&ask).context("Error cloning token")?;
    show(call, &token, |token| pretty(token, call.is("meta")))
}

fn list_all(call: &Call) -> Outcome {
    let all = call.client()?.json(&Ask::get(TOKEN.all));
    let all = all.context("Failed to retrieve the token list")?;
    show(call, &all, |all| {
        let tokens = list(all).iter().map(|token| pretty(token, call.is("meta")));
        tokens.collect::<Vec<_>>().join("\n")
    })
}

/// A token as text; `meta`: with hash and indexes.
pub(super) fn pretty(token: &Value, meta: bool) -> String {
    let mut text = String::new();
    line!(text, "AccessorID:       {}", field(token, "AccessorID"));
    line!(text, "SecretID:         {}", field(token, "SecretID"));
    for name in ["Partition", "Namespace"] {
        if !field(token, name).is_empty() {
            line!(text, "{:<18}{}", format!("{name}:"), field(token, name));
        }
    }
    line!(text, "Description:      {}", field(token, "Description"));
    line!(text, "Local:            {}", token["Local"] == true);
    let method = field(token, "AuthMethod");
    if !method.is_empty() {
        let namespace = field(token, "AuthMethodNamespace");
        line!(text, "Auth Method:      {method} (Namespace: {namespace})");
    }
    line!(text, "Create Time:      {}", time(field(token, "CreateTime")));
    if !field(token, "ExpirationTime").is_empty() {
        line!(text, "Expiration Time:  {}", time(field(token, "ExpirationTime")));
    }
    if meta {
        add_meta(&mut text, token, "", 18);
    }
    links::pretty(&mut text, token, "");
    text
}
