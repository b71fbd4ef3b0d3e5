//! Blocks with labels, found alike in what HCL and what JSON makes of them.

use serde_json::{Map, Value};

use crate::shape::{ShapeError, kind};

/// One block: `name "label" { body }`, or what says the same in JSON.
#[derive(Clone, PartialEq, Debug)]
pub struct Block<'a> {
    /// As many as were asked for.
    pub labels: Vec<&'a str>,
    /// As it was read: blocks in it are lists of objects.
    pub body: &'a Map<String, Value>,
}

/// The blocks called `name` in an object, with `labels` labels each, in the order of the text; none if there is no such key.
///
/// With one label `service "web" {…}`, `service { web {…} }`, `service = { web = {…} }` and, in JSON,
/// `"service": {"web": {…}}` and `"service": [{"web": [{…}]}]` are the same. With no label every object under the name is a
/// block. Errors: something under the name that is not an object where one must be.
pub fn blocks<'a>(
    object: &'a Map<String, Value>,
    name: &str,
    labels: usize,
) -> Result<Vec<Block<'a>>, ShapeError> {
    let mut found = Vec::new();
    if let Some(value) = object.get(name) {
        descend(value, name, labels, &mut Vec::new(), &mut found)?;
    }
    Ok(found)
}

fn descend<'a>(
    value: &'a Value,
    name: &str,
    labels_left: usize,
    labels: &mut Vec<&'a str>,
    found: &mut Vec<Block<'a>>,
) -> Result<(), ShapeError> {
    let objects = match value {
        Value::Array(list) => list.as_slice(),
        _ => std::slice::from_ref(value),
    };
    for object in objects {
        let Value::Object(body) = object else {
            let path = [name].iter().chain(labels.iter()).map(|it| (*it).to_owned()).collect();
            return Err(ShapeError { path, expected: "an object", found: kind(object) });
        };
        if labels_left == 0 {
            found.push(Block { labels: labels.clone(), body });
            continue;
        }
        for (label, inner) in body {
            labels.push(label);
            descend(inner, name, labels_left - 1, labels, found)?;
            labels.pop();
        }
    }
    Ok(())
}
