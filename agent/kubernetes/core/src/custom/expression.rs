//! CEL expressions of rules: compiled once, bounded before they run, and honest when they can't answer.
//!
//! A field that is not there makes an expression not hold. Every other failure is an error, and its rule says
//! `unknown`. Deliberately not here: regular expressions and clocks; ages are part of a clause.

use std::collections::BTreeSet;

use cel::common::ast::{EntryExpr, Expr, IdedExpr, operators};
use cel::{ExecutionError, Program};
use trimaran_model::limits;

use super::view::{ENVIRONMENT, View};

/// What a rule may read: the object and its three parts.
pub(super) const ROOTS: &[&str] = &["metadata", "object", "spec", "status"];

/// Names of types, to compare with `type(…)`.
const TYPES: &[&str] = &["bool", "double", "int", "list", "map", "string"];

/// Functions and methods that a rule may call: CEL's own, and those of [`super::view`].
const FUNCTIONS: &[&str] = &[
    "bool",
    "charAt",
    "condition",
    "conditionIn",
    "conditionSince",
    "contains",
    "double",
    "endsWith",
    "hasValue",
    "indexOf",
    "int",
    "isFailure",
    "isTransient",
    "join",
    "lowerAscii",
    "none",
    "of",
    "ofNonZeroValue",
    "or",
    "orValue",
    "size",
    "split",
    "startsWith",
    "string",
    "substring",
    "sum",
    "trim",
    "type",
    "value",
];

/// What is wrong with an expression, and where in its text: line and column from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub line: u32,
    pub column: u32,
    pub what: String,
    pub help: String,
}

/// A compiled expression and what it reads.
#[derive(Debug)]
pub(super) struct Expression {
    program: Program,
    pub text: String,
    /// The [`ROOTS`] that it reads.
    pub roots: BTreeSet<&'static str>,
    /// Plain paths such as `status.phase`.
    pub paths: BTreeSet<Vec<String>>,
    /// Literal names given to `condition`.
    pub conditions: BTreeSet<String>,
    /// Plain paths and the texts that they are compared with, by `==`, `!=` or `in`.
    pub compared: BTreeSet<(Vec<String>, String)>,
    nodes: u64,
    loops: u32,
    /// It makes lists of texts.
    splits: bool,
}

/// What an expression answers.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Answer {
    Value(cel::Value),
    /// Something that it reads is not there.
    Missing,
    Error(String),
}

impl Expression {
    pub(super) fn compile(text: &str) -> Result<Self, Fault> {
        let fault = |what: String, help: &str| Fault { line: 1, column: 1, what, help: help.to_owned() };
        if text.len() > limits::CEL_BYTES_MAX {
            let what = format!("the expression is longer than {} bytes", limits::CEL_BYTES_MAX);
            return Err(fault(what, "split it into several clauses"));
        }
        if nesting(text) > limits::CEL_DEPTH_MAX {
            return Err(too_deep());
        }
        let program = ENVIRONMENT.compile(text).map_err(|errors| syntax(&errors))?;
        let mut survey = Survey::default();
        survey.expression(program.expression(), 0, 0)?;
        let Survey { roots, paths, conditions, compared, nodes, loops, splits, .. } = survey;
        let text = text.to_owned();
        Ok(Self { program, text, roots, paths, conditions, compared, nodes, loops, splits })
    }

    /// Runs it. The bound on steps is checked first: every loop runs at most over the longest collection.
    pub(super) fn evaluate(&self, view: &View) -> Answer {
        if self.loops > 0 {
            let longest = view.longest(self.splits);
            let steps = (0..self.loops).fold(self.nodes, |steps, _| steps.saturating_mul(longest as u64));
            if longest > limits::CEL_COLLECTION_MAX || steps > limits::CEL_STEPS_MAX {
                return Answer::Error(format!("a list of {longest} entries is too long for it"));
            }
        }
        match self.program.execute(view.context()) {
            Ok(value) => Answer::Value(value),
            Err(ExecutionError::NoSuchKey(_) | ExecutionError::IndexOutOfBounds(_)) => Answer::Missing,
            Err(error) => Answer::Error(error.to_string()),
        }
    }
}

fn too_deep() -> Fault {
    Fault {
        line: 1,
        column: 1,
        what: format!("the expression is nested more than {} deep", limits::CEL_DEPTH_MAX),
        help: "split it into several clauses".to_owned(),
    }
}

/// An upper bound of the parser's recursion: open brackets and signs before a value.
fn nesting(text: &str) -> usize {
    let (mut open, mut deepest) = (0usize, 0usize);
    for c in text.chars() {
        match c {
            '(' | '[' | '{' => open += 1,
            ')' | ']' | '}' => open = open.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(open);
    }
    deepest.max(text.matches(['!', '-', '?']).count())
}

fn syntax(errors: &cel::ParseErrors) -> Fault {
    let place = |n: isize| u32::try_from(n).unwrap_or(1).max(1);
    let first = errors.errors.first();
    let what = first.map_or("this is no CEL expression", |error| error.msg.as_str());
    Fault {
        line: first.map_or(1, |error| place(error.pos.0)),
        column: first.map_or(1, |error| place(error.pos.1)),
        what: format!("the expression can't be read: {}", what.lines().next().unwrap_or_default()),
        help: "see the language definition of CEL; texts are in quotes, `&&`, `||` and `!` combine"
            .to_owned(),
    }
}

/// Walks the tree once: what is read, how large it is, and what is not known.
#[derive(Debug, Default)]
struct Survey {
    roots: BTreeSet<&'static str>,
    paths: BTreeSet<Vec<String>>,
    conditions: BTreeSet<String>,
    compared: BTreeSet<(Vec<String>, String)>,
    /// Variables of the loops around the place.
    scope: Vec<String>,
    nodes: u64,
    loops: u32,
    splits: bool,
}

impl Survey {
    fn expression(&mut self, node: &IdedExpr, depth: usize, loops: u32) -> Result<(), Fault> {
        self.nodes += 1;
        self.loops = self.loops.max(loops);
        if depth > limits::CEL_DEPTH_MAX {
            return Err(too_deep());
        }
        let depth = depth + 1;
        match &node.expr {
            Expr::Literal(_) => Ok(()),
            Expr::Ident(name) => self.name(name),
            Expr::Select(select) => {
                if let Some(path) = path(node).filter(|path| ROOTS.contains(&path[0].as_str())) {
                    self.paths.insert(path);
                }
                self.expression(&select.operand, depth, loops)
            }
            Expr::Call(call) => {
                self.function(&call.func_name)?;
                self.splits |= call.func_name == "split";
                if let ("condition" | "conditionSince", Some(Expr::Literal(literal))) =
                    (call.func_name.as_str(), call.args.first().map(|arg| &arg.expr))
                {
                    self.conditions.extend(literal_text(literal));
                }
                if let (operators::EQUALS | operators::NOT_EQUALS | operators::IN, [left, right]) =
                    (call.func_name.as_str(), &call.args[..])
                {
                    self.comparison(left, right);
                }
                let namespace = call.target.as_ref().filter(|target| is_namespace(target));
                for part in call.target.iter().filter(|_| namespace.is_none()) {
                    self.expression(part, depth, loops)?;
                }
                call.args.iter().try_for_each(|arg| self.expression(arg, depth, loops))
            }
            Expr::List(list) => list.elements.iter().try_for_each(|item| self.expression(item, depth, loops)),
            Expr::Map(map) => map.entries.iter().try_for_each(|entry| match &entry.expr {
                EntryExpr::MapEntry(entry) => {
                    self.expression(&entry.key, depth, loops)?;
                    self.expression(&entry.value, depth, loops)
                }
                EntryExpr::StructField(_) => Err(no_messages()),
            }),
            Expr::Comprehension(comprehension) => self.comprehension(comprehension, depth, loops),
            Expr::Struct(_) | Expr::Unspecified => Err(no_messages()),
        }
    }

    /// The texts that a path is compared with; either side of an equation may be the path.
    fn comparison(&mut self, left: &IdedExpr, right: &IdedExpr) {
        for (value, words) in [(left, right), (right, left)] {
            let is_field = |path: &Vec<String>| path.len() > 1 && ROOTS.contains(&path[0].as_str());
            let Some(path) = state_path(value).filter(is_field) else { continue };
            let words = match &words.expr {
                Expr::Literal(literal) => literal_text(literal).into_iter().collect(),
                Expr::List(list) => list.elements.iter().filter_map(text_of).collect(),
                _ => Vec::new(),
            };
            self.compared.extend(words.into_iter().map(|word| (path.clone(), word)));
        }
    }

    fn comprehension(
        &mut self,
        comprehension: &cel::common::ast::ComprehensionExpr,
        depth: usize,
        loops: u32,
    ) -> Result<(), Fault> {
        self.expression(&comprehension.iter_range, depth, loops)?;
        if loops >= limits::CEL_LOOPS_MAX {
            let what = format!("more than {} loops inside of each other", limits::CEL_LOOPS_MAX);
            return Err(Fault { line: 1, column: 1, what, help: "split it into several clauses".to_owned() });
        }
        let before = self.scope.len();
        self.scope.push(comprehension.iter_var.clone());
        self.scope.extend(comprehension.iter_var2.clone());
        self.scope.push(comprehension.accu_var.clone());
        let parts = [
            &comprehension.accu_init,
            &comprehension.loop_cond,
            &comprehension.loop_step,
            &comprehension.result,
        ];
        for part in parts {
            self.expression(part, depth, loops + 1)?;
        }
        self.scope.truncate(before);
        Ok(())
    }

    fn name(&mut self, name: &str) -> Result<(), Fault> {
        if TYPES.contains(&name) || self.scope.iter().any(|known| known == name) {
            return Ok(());
        }
        let Some(root) = ROOTS.iter().find(|root| **root == name) else {
            let what = format!("nothing is called `{name}` here");
            let help = format!("an expression reads {} and the variables of its loops", ROOTS.join(", "));
            return Err(Fault { line: 1, column: 1, what, help });
        };
        self.roots.insert(root);
        Ok(())
    }

    /// Operators have names that begin with a sign.
    fn function(&self, name: &str) -> Result<(), Fault> {
        if !name.starts_with(char::is_alphabetic) || FUNCTIONS.contains(&name) {
            return Ok(());
        }
        let what = format!("there is no function `{name}`");
        let help =
            format!("there are: {}, and has, all, exists, exists_one, map, filter", FUNCTIONS.join(", "));
        Err(Fault { line: 1, column: 1, what, help })
    }
}

fn no_messages() -> Fault {
    let what = "messages can't be built here".to_owned();
    Fault { line: 1, column: 1, what, help: "use maps such as {\"key\": value}".to_owned() }
}

/// `optional.none()`: the target is a part of the function's name.
fn is_namespace(target: &IdedExpr) -> bool {
    matches!(&target.expr, Expr::Ident(name) if name == "optional")
}

fn literal_text(literal: &cel::common::ast::LiteralValue) -> Option<String> {
    match literal {
        cel::common::ast::LiteralValue::String(text) => Some(text.inner().to_owned()),
        _ => None,
    }
}

/// The text of a literal.
fn text_of(node: &IdedExpr) -> Option<String> {
    match &node.expr {
        Expr::Literal(literal) => literal_text(literal),
        _ => None,
    }
}

/// [`path`], also where it is written with a default: `a.?b.orValue("c")`.
fn state_path(node: &IdedExpr) -> Option<Vec<String>> {
    let Expr::Call(call) = &node.expr else { return path(node) };
    match (call.func_name.as_str(), &call.target, &call.args[..]) {
        ("orValue", Some(target), _) => state_path(target),
        (operators::OPT_SELECT, _, [of, field]) => {
            let mut names = state_path(of)?;
            names.push(text_of(field)?);
            Some(names)
        }
        _ => None,
    }
}

/// `a.b.c` as its names, root first.
fn path(node: &IdedExpr) -> Option<Vec<String>> {
    match &node.expr {
        Expr::Ident(name) => Some(vec![name.clone()]),
        Expr::Select(select) => {
            let mut names = path(&select.operand)?;
            names.push(select.field.clone());
            Some(names)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::custom::condition::Conditions;
    use crate::custom::subject::Subject;

    fn view(object: &serde_json::Value, expression: &Expression) -> View {
        let subject = Subject::new(object, None);
        View::new(&subject, &Conditions::read(&subject, subject.status("conditions")), &expression.roots)
    }

    fn answer(text: &str, object: &serde_json::Value) -> Answer {
        let expression = Expression::compile(text).unwrap_or_else(|fault| panic!("{text}: {fault:?}"));
        expression.evaluate(&view(object, &expression))
    }

    fn holds(text: &str, object: &serde_json::Value) -> bool {
        answer(text, object) == Answer::Value(cel::Value::Bool(true))
    }

    #[test]
    fn what_is_there_is_read() {
        let object = json!({
            "metadata": {"generation": 2, "annotations": {"a/b": "c"}},
            "spec": {"replicas": 3, "list": [{"n": 1}, {"n": 2}]},
            "status": {"ready": 3, "ratio": 0.5, "nothing": null, "conditions": [
                {"type": "Ready", "status": "True", "observedGeneration": 2},
                {"type": "Old", "status": "True", "observedGeneration": 1},
            ]},
        });
        for text in [
            "status.ready >= spec.replicas",
            "status.ratio < 1.0",
            r#"condition("Ready").status == "True""#,
            r#"condition("Old").status == """#,
            r#"condition("None").message == """#,
            r#"conditionIn(status.conditions, "Ready").status == "True""#,
            r#"conditionIn(status.conditions, "Old").status == """#,
            "spec.list.exists(x, x.n == 2)",
            "!has(status.nothing) && !has(status.absent)",
            "status.?absent.orValue(7) == 7",
            r#"metadata.annotations["a/b"] == "c""#,
            r#"type(status.ready) == int"#,
            "object.spec.replicas == 3",
            "status.absent > 1 || status.ready == 3",
        ] {
            assert!(holds(text, &object), "{text}");
        }
    }

    #[test]
    fn what_is_not_there_is_missing_and_not_wrong() {
        let object = json!({"status": {"ready": 3, "list": []}});
        for text in [
            "status.absent == 1",
            "!status.absent",
            "spec.a.b.c == 1",
            "status.list[0] == 1",
            "size(status.x) > 0",
        ] {
            assert_eq!(answer(text, &object), Answer::Missing, "{text}");
        }
        let odd = json!({"status": {"ready": "three"}});
        assert!(matches!(answer("status.ready > 1", &odd), Answer::Error(_)));
    }

    #[test]
    fn the_texts_that_a_path_is_compared_with() {
        let compared = |text: &str| {
            let expression = Expression::compile(text).expect("an expression");
            let words = expression.compared.iter().map(|(path, word)| format!("{}={word}", path.join(".")));
            words.collect::<Vec<_>>()
        };
        assert_eq!(
            compared(r#"status.phase == "A" || "B" != status.phase"#),
            ["status.phase=A", "status.phase=B"]
        );
        assert_eq!(compared(r#"!(status.a.b in ["A", "B"])"#), ["status.a.b=A", "status.a.b=B"]);
        assert_eq!(compared(r#"status.?phase.orValue("D") == "A""#), ["status.phase=A"]);
        assert_eq!(compared(r#"status.?a.?b.orValue("") == "A""#), ["status.a.b=A"]);
        for other in [
            r#"condition("Ready").status == "True""#,
            r#"status.list.exists(c, c.state == "A")"#,
            "status.count == 1",
            r#"status.phase.startsWith("A")"#,
            r#"status == "A""#,
        ] {
            assert!(compared(other).is_empty(), "{other}: {:?}", compared(other));
        }
    }

    #[test]
    fn what_is_not_known_is_refused_when_it_is_read() {
        for (text, words) in [
            ("status.ready ==", "can't be read"),
            ("foo == 1", "nothing is called `foo`"),
            ("now() > 1", "no function `now`"),
            ("status.x.matches('a')", "no function `matches`"),
            ("status.l.all(x, y > 1)", "nothing is called `y`"),
            ("Message{a: 1}.a == 1", "messages can't be built"),
            ("status.a.all(x, x.b.all(y, y.c.all(z, z)))", "loops inside of each other"),
        ] {
            let fault = Expression::compile(text).expect_err(text);
            assert!(fault.what.contains(words), "{text}: {}", fault.what);
            assert!(!fault.help.is_empty());
        }
    }

    #[test]
    fn large_and_deep_expressions_are_refused() {
        let long = "1+".repeat(limits::CEL_BYTES_MAX / 2 - 1) + "1";
        let texts = [
            long,
            "status".to_owned() + &".a".repeat(limits::CEL_BYTES_MAX / 2 - 8),
            "(".repeat(1000) + "1" + &")".repeat(1000),
            "!".repeat(2000) + "true",
            "-".repeat(2000) + "1",
            "[".repeat(1000) + &"]".repeat(1000),
            "true?1:".repeat(280) + "1",
            "1".repeat(limits::CEL_BYTES_MAX + 1),
        ];
        for text in texts {
            assert!(Expression::compile(&text).is_err(), "{text}");
        }
    }

    #[test]
    fn loops_over_long_lists_are_errors() {
        let object = json!({"status": {"list": vec![1; limits::CEL_COLLECTION_MAX + 1]}});
        assert!(matches!(answer("status.list.all(x, x == 1)", &object), Answer::Error(_)));
        assert!(holds("size(status.list) > 1", &object));
        let object = json!({"status": {"text": "a,".repeat(limits::CEL_COLLECTION_MAX), "list": [1]}});
        assert!(holds("status.list.all(x, x == 1)", &object));
        assert!(matches!(answer("status.text.split(',').all(x, x == 'a')", &object), Answer::Error(_)));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,80}") {
            let _ = Expression::compile(&text);
        }

        #[test]
        fn nothing_like_an_expression_panics(
            parts in prop::collection::vec(prop::sample::select(vec![
                "status", ".a", "[0]", "==", "&&", "||", "!", "(", ")", "?", ":", "'x'", "1", "-", "+", "{", "}", "[", "]",
                ".exists(x, ", "has(", "condition('a')", ".?b", ".orValue(1)", "r'", "\"", "\\", "1.5e", "0x", "u", "/", "%", " in ",
            ]), 0..12)
        ) {
            let text: String = parts.concat();
            if let Ok(expression) = Expression::compile(&text) {
                let object = json!({"status": {"a": [1, "x"], "b": {"c": null}}});
                let _ = expression.evaluate(&view(&object, &expression));
            }
        }
    }
}
