//! An object as CEL expressions see it.
//!
//! Nulls are left out, so that a field that is null reads like one that is not there. `spec`, `status` and
//! `metadata` are always maps.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, LazyLock};

use cel::objects::Key;
use cel::{Context, Env, ExecutionError, Value as Cel};
use serde_json::Value;
use trimaran_model::time::WallTime;

use super::condition::Conditions;
use super::subject::Subject;
use super::{failure_text, status_vocabulary};

/// The functions of CEL that expressions are compiled with and run in.
pub(super) static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut env = Env::stdlib();
    env.add_extension(cel::extensions::strings).expect("the extension is added once");
    Arc::new(env)
});

pub(super) struct View {
    context: Context<'static, 'static>,
    /// Entries of the longest list or map, and characters of the longest text.
    longest: Longest,
}

#[derive(Debug, Clone, Copy, Default)]
struct Longest {
    collection: usize,
    text: usize,
}

/// Fields that every condition has for a rule, empty when they are not there.
const CONDITION_FIELDS: &[&str] = &["status", "reason", "message", "severity", "lastTransitionTime"];

impl View {
    /// Converts the roots that the expressions read, and no others.
    pub(super) fn new(
        subject: &Subject<'_>,
        conditions: &Conditions<'_>,
        roots: &BTreeSet<&'static str>,
    ) -> Self {
        let mut context = Context::with_env(Arc::clone(&ENVIRONMENT));
        let mut longest = Longest::default();
        for root in roots {
            let value = if *root == "object" { Some(subject.object) } else { subject.object.get(root) };
            let value = value.filter(|value| value.is_object()).map(|value| convert(value, &mut longest));
            context.add_variable_from_value(*root, value.unwrap_or_else(|| map(Fields::default())));
        }
        let mut by_name = BTreeMap::new();
        for (name, condition) in conditions.by_name.iter().filter(|(_, condition)| !condition.stale) {
            let mut fields = fields(condition.entry, &mut longest);
            fields.insert("status".to_owned(), condition.truth.as_str().into());
            by_name.insert(name.clone(), map(fields));
        }
        let generation = subject.generation;
        let declared = context
            .add_function("condition", move |name: Arc<String>| {
                by_name.get(name.as_str()).cloned().unwrap_or_else(|| map(with_defaults(Fields::default())))
            })
            .and_then(|()| {
                context.add_function("conditionIn", move |list: Arc<Vec<Cel>>, name: Arc<String>| {
                    condition_in(&list, &name, generation)
                })
            });
        declared.expect("the standard library has no such functions");
        add_helpers(&mut context, subject, conditions);
        Self { context, longest }
    }

    pub(super) fn context(&self) -> &Context<'static, 'static> {
        &self.context
    }

    /// How often a loop may run at most; a text counts when it can be split into a list.
    pub(super) fn longest(&self, splits: bool) -> usize {
        if splits { self.longest.collection.max(self.longest.text) } else { self.longest.collection }
    }
}

/// Functions that know what words mean, since when something is so, and what a list adds up to.
fn add_helpers(context: &mut Context<'static, 'static>, subject: &Subject<'_>, conditions: &Conditions<'_>) {
    let text = |at: Option<WallTime>| at.map(text_of).unwrap_or_default();
    let began = text(subject.began);
    let fresh = conditions.by_name.iter().filter(|(_, condition)| !condition.stale);
    let since: BTreeMap<String, String> =
        fresh.map(|(name, condition)| (name.clone(), text(condition.at.or(subject.began)))).collect();
    let condition_since =
        move |name: Arc<String>| -> Cel { since.get(name.as_str()).unwrap_or(&began).as_str().into() };
    let is_failure = |reason: Arc<String>| Cel::Bool(status_vocabulary::is_failure(&reason));
    let is_transient = |text: Arc<String>| Cel::Bool(failure_text::is_transient_or_network("", &text));
    context
        .add_function("conditionSince", condition_since)
        .and_then(|()| context.add_function("isFailure", is_failure))
        .and_then(|()| context.add_function("isTransient", is_transient))
        .and_then(|()| context.add_function("sum", sum))
        .expect("the standard library has no such functions");
}

/// The sum of a count in each map of a list; `missing` where the count is left out.
fn sum(list: Arc<Vec<Cel>>, field: Arc<String>, missing: i64) -> Result<Cel, ExecutionError> {
    let wrong = |what: &str| Err(ExecutionError::function_error("sum", what));
    let mut total = 0i64;
    for entry in list.iter() {
        let Cel::Map(fields) = entry else { return wrong("an entry is not a map") };
        let count = match fields.get(&Key::from(field.as_str())) {
            Some(Cel::Int(count)) => *count,
            Some(_) => return wrong("a count is not a whole number"),
            None => missing,
        };
        total = total.saturating_add(count);
    }
    Ok(Cel::Int(total))
}

fn text_of(at: WallTime) -> String {
    jiff::Timestamp::from_millisecond(at.0).map(|at| at.to_string()).unwrap_or_default()
}

type Fields = HashMap<String, Cel>;

/// Adds an empty text for each field that a rule may expect.
fn with_defaults(mut fields: Fields) -> Fields {
    for field in CONDITION_FIELDS {
        fields.entry((*field).to_owned()).or_insert_with(|| "".into());
    }
    fields
}

fn map(fields: Fields) -> Cel {
    Cel::Map(fields.into())
}

/// The texts of a condition, with an empty one for each that every condition should have.
fn fields(entry: &Value, longest: &mut Longest) -> Fields {
    let entry = entry.as_object().into_iter().flatten();
    let known = entry.filter(|(_, value)| !value.is_null());
    with_defaults(known.map(|(name, value)| (name.clone(), convert(value, longest))).collect())
}

/// The fresh condition of a type in a list that an expression found; the latest when there are several.
fn condition_in(list: &[Cel], name: &str, generation: Option<i64>) -> Cel {
    let get = |entry: &Cel, field: &str| match entry {
        Cel::Map(fields) => fields.get(&Key::from(field)).cloned(),
        _ => None,
    };
    let fresh = |entry: &&Cel| match (get(entry, "observedGeneration"), generation) {
        (Some(Cel::Int(observed)), Some(generation)) => observed >= generation,
        _ => true,
    };
    let named = |entry: &&Cel| get(entry, "type") == Some(name.into());
    let text = |entry: &Cel, field: &str| match get(entry, field) {
        Some(Cel::String(text)) => text.to_string(),
        _ => String::new(),
    };
    let latest = |entry: &&Cel| (text(entry, "lastTransitionTime"), text(entry, "status"));
    let found = list.iter().filter(named).filter(fresh).max_by_key(latest);
    let mut fields = Fields::default();
    if let Some(Cel::Map(entry)) = found {
        for (key, value) in entry.map.iter() {
            if let Key::String(key) = key {
                fields.insert(key.to_string(), value.clone());
            }
        }
    }
    map(with_defaults(fields))
}

fn convert(value: &Value, longest: &mut Longest) -> Cel {
    match value {
        Value::Null => Cel::Null,
        Value::Bool(truth) => Cel::Bool(*truth),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Cel::Int(number),
            (None, Some(number)) => Cel::UInt(number),
            (None, None) => Cel::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => {
            longest.text = longest.text.max(text.len());
            text.as_str().into()
        }
        Value::Array(list) => {
            longest.collection = longest.collection.max(list.len());
            Cel::List(Arc::new(list.iter().map(|item| convert(item, longest)).collect()))
        }
        Value::Object(fields) => {
            longest.collection = longest.collection.max(fields.len());
            let fields = fields.iter().filter(|(_, value)| !value.is_null());
            map(fields.map(|(name, value)| (name.clone(), convert(value, longest))).collect())
        }
    }
}
