//! Schemas from TypeScript declarations that were made of CustomResourceDefinitions or of Go types: interfaces whose
//! fields are other interfaces, lists, maps and texts. Only what such generators write is read.

use std::collections::BTreeMap;

use super::node::{Kind, Node};

/// A type may contain itself, such as a template of a workflow: it is followed this often on one way.
const SAME_TYPE_MAX: usize = 2;

/// Types that write themselves as one of their fields alone (Argo Workflows, `ParallelSteps.MarshalJSON`).
const WRITTEN_AS: &[(&str, &str)] = &[("ParallelSteps", "steps")];

#[derive(Debug, Clone, PartialEq)]
enum Token {
    /// Of `/** … */`.
    Comment(String),
    Word(String),
    Text(String),
    Sign(char),
}

#[derive(Debug, Clone, Default)]
struct Interface {
    extends: Vec<String>,
    fields: Vec<Field>,
}

#[derive(Debug, Clone)]
struct Field {
    name: String,
    description: String,
    form: Form,
}

#[derive(Debug, Clone)]
enum Form {
    Text,
    /// The text itself, such as `"v1"`.
    Literal(String),
    Name(String),
    List(Box<Form>),
    Map(Box<Form>),
    Fields(Vec<Field>),
    Union(Vec<Form>),
}

/// Interfaces of one package, by name.
#[derive(Debug, Default)]
pub(super) struct Declarations {
    interfaces: BTreeMap<String, Interface>,
    /// Names of other forms, such as lists.
    forms: BTreeMap<String, Form>,
    /// Names under which a file exports its interfaces to others.
    aliases: BTreeMap<String, String>,
}

impl Declarations {
    /// Adds the interfaces of a file. With `prefix`, so that files may use one name for different types.
    pub(super) fn add(&mut self, text: &str, prefix: &str) {
        let mut reader = Reader { tokens: tokens(text), at: 0 };
        while let Some(token) = reader.next() {
            match token {
                Token::Word(word) if word == "interface" => {
                    if let Some((name, interface)) = reader.interface() {
                        self.interfaces.insert(format!("{prefix}{name}"), interface);
                    }
                }
                Token::Word(word) if word == "type" => reader.alias(prefix, &mut self.forms),
                Token::Word(word) if word == "as" => {
                    let before = reader.at.checked_sub(2).and_then(|at| reader.tokens.get(at).cloned());
                    if let (Some(Token::Word(name)), Some(Token::Word(alias))) = (before, reader.next()) {
                        self.aliases.insert(alias, format!("{prefix}{name}"));
                    }
                }
                _ => {}
            }
        }
    }

    /// The kinds of interfaces that say their `apiVersion` and `kind` themselves.
    pub(super) fn kinds(&self) -> Vec<Kind> {
        let mut kinds = Vec::new();
        for (name, interface) in &self.interfaces {
            let literal = |key: &str| {
                interface.fields.iter().find(|field| field.name == key).and_then(|field| match &field.form {
                    Form::Literal(text) => Some(text.clone()),
                    _ => None,
                })
            };
            let (Some(version), Some(kind)) = (literal("apiVersion"), literal("kind")) else { continue };
            let group = version.split_once('/').map_or("", |(group, _)| group).to_owned();
            kinds.push(Kind { group, kind, root: self.root(name) });
        }
        kinds
    }

    /// The schema of an interface.
    pub(super) fn root(&self, name: &str) -> Node {
        self.expand(&Form::Name(name.to_owned()), &mut Vec::new())
    }

    fn expand(&self, form: &Form, above: &mut Vec<String>) -> Node {
        match form {
            Form::Text => Node { is_text: true, ..Node::default() },
            Form::Literal(text) => Node { is_text: true, allowed: vec![text.clone()], ..Node::default() },
            Form::List(item) => Node { items: Some(Box::new(self.expand(item, above))), ..Node::default() },
            Form::Map(value) => Node { values: Some(Box::new(self.expand(value, above))), ..Node::default() },
            Form::Fields(fields) => self.fields(fields, above),
            Form::Union(forms) => {
                let mut nodes = forms.iter().map(|form| self.expand(form, above));
                let mut first = nodes.next().unwrap_or_default();
                for node in nodes {
                    first.allowed.extend(node.allowed);
                    first.fields.extend(node.fields);
                    first.is_text |= node.is_text;
                }
                first
            }
            Form::Name(name) => {
                let name = self.aliases.get(name).unwrap_or(name);
                if let Some(form) = self.forms.get(name) {
                    return self.expand(form, above);
                }
                let Some(interface) = self.interfaces.get(name) else {
                    let last = name.split("V1").last().unwrap_or(name);
                    return Node { named: Some(last.to_owned()), ..Node::default() };
                };
                if above.iter().filter(|it| *it == name).count() >= SAME_TYPE_MAX {
                    return Node::default();
                }
                above.push(name.clone());
                let mut node = self.fields(&interface.fields, above);
                if let Some((_, field)) = WRITTEN_AS.iter().find(|(end, _)| name.ends_with(end)) {
                    node = node.fields.remove(*field).unwrap_or_default();
                }
                for base in &interface.extends {
                    let base = self.expand(&Form::Name(base.clone()), above);
                    node.fields.extend(base.fields);
                    node.named = node.named.or(base.named);
                }
                above.pop();
                node
            }
        }
    }

    fn fields(&self, fields: &[Field], above: &mut Vec<String>) -> Node {
        let expanded = fields.iter().map(|field| {
            let node = Node { description: field.description.clone(), ..self.expand(&field.form, above) };
            (field.name.clone(), node)
        });
        Node { fields: expanded.collect(), ..Node::default() }
    }
}

struct Reader {
    tokens: Vec<Token>,
    at: usize,
}

impl Reader {
    fn next(&mut self) -> Option<Token> {
        self.at += 1;
        self.tokens.get(self.at - 1).cloned()
    }

    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn accept(&mut self, sign: char) -> bool {
        let found = self.peek() == Some(&Token::Sign(sign));
        self.at += usize::from(found);
        found
    }

    /// Behind `interface`.
    fn interface(&mut self) -> Option<(String, Interface)> {
        let Some(Token::Word(name)) = self.next() else { return None };
        let mut extends = Vec::new();
        loop {
            match self.next()? {
                Token::Sign('{') => break,
                Token::Word(word) if word != "extends" => extends.push(word),
                _ => {}
            }
        }
        Some((name, Interface { extends, fields: self.fields() }))
    }

    /// Behind `type`: `NAME = FORM`.
    fn alias(&mut self, prefix: &str, forms: &mut BTreeMap<String, Form>) {
        if let Some(Token::Word(name)) = self.peek().cloned()
            && self.tokens.get(self.at + 1) == Some(&Token::Sign('='))
        {
            self.at += 2;
            let form = self.form();
            // A second name of the same type would lead from itself to itself.
            if !matches!(form, Form::Name(_)) {
                forms.insert(format!("{prefix}{name}"), form);
            }
        }
    }

    /// Behind `{`, to behind `}`.
    fn fields(&mut self) -> Vec<Field> {
        let (mut fields, mut description) = (Vec::new(), String::new());
        while let Some(token) = self.next() {
            let name = match token {
                Token::Sign('}') => break,
                Token::Comment(text) => {
                    description = text;
                    continue;
                }
                Token::Word(word) if word == "readonly" => continue,
                Token::Word(name) | Token::Text(name) => name,
                Token::Sign('[') => {
                    while !self.accept(']') && self.next().is_some() {}
                    "*".to_owned()
                }
                Token::Sign(_) => continue,
            };
            self.accept('?');
            if !self.accept(':') {
                continue;
            }
            let form = self.form();
            // cdk8s writes field names in a form of its own, and the real one in a tag.
            let tag = description.split_once("@schema ").and_then(|(_, it)| it.split_once('#'));
            let name =
                tag.map_or(name, |(_, it)| it.split_whitespace().next().unwrap_or_default().to_owned());
            fields.push(Field { name, description: std::mem::take(&mut description), form });
        }
        fields
    }

    fn form(&mut self) -> Form {
        let mut forms = vec![self.one_form()];
        while self.accept('|') {
            forms.push(self.one_form());
        }
        if forms.len() == 1 { forms.remove(0) } else { Form::Union(forms) }
    }

    fn one_form(&mut self) -> Form {
        let mut form = match self.next() {
            Some(Token::Text(text)) => Form::Literal(text),
            Some(Token::Word(word)) if word == "string" => Form::Text,
            Some(Token::Word(word)) if word == "Array" && self.accept('<') => {
                let item = self.form();
                self.accept('>');
                Form::List(Box::new(item))
            }
            Some(Token::Word(word)) => Form::Name(word),
            Some(Token::Sign('(')) => {
                let form = self.form();
                self.accept(')');
                form
            }
            Some(Token::Sign('{')) => {
                let fields = self.fields();
                match &fields[..] {
                    [one] if one.name == "*" => Form::Map(Box::new(one.form.clone())),
                    _ => Form::Fields(fields),
                }
            }
            _ => Form::Name("any".to_owned()),
        };
        while self.accept('[') {
            self.accept(']');
            form = Form::List(Box::new(form));
        }
        form
    }
}

fn tokens(text: &str) -> Vec<Token> {
    let (mut tokens, mut rest) = (Vec::new(), text);
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '$' | '.');
        if let Some(comment) = rest.strip_prefix("/*") {
            let (words, after) = comment.split_once("*/").unwrap_or((comment, ""));
            let words: Vec<&str> = words.split_whitespace().filter(|word| *word != "*").collect();
            tokens.push(Token::Comment(words.join(" ")));
            rest = after;
        } else if rest.starts_with("//") {
            rest = rest.split_once('\n').map_or("", |(_, after)| after);
        } else if first == '"' || first == '\'' {
            let (inside, after) = rest[1..].split_once(first).unwrap_or((&rest[1..], ""));
            tokens.push(Token::Text(inside.to_owned()));
            rest = after;
        } else if is_word(first) {
            let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            tokens.push(Token::Word(rest[..end].to_owned()));
            rest = &rest[end..];
        } else {
            if !first.is_whitespace() {
                tokens.push(Token::Sign(first));
            }
            rest = &rest[first.len_utf8()..];
        }
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_become_schemas() {
        let mut all = Declarations::default();
        let file = r#"
import { IIoK8sApiCoreV1SecretKeySelector } from "somewhere";
/** Words. */
export interface IThing extends Base {
    "apiVersion": "g.io/v1";
    "kind": "Thing";
    "spec": { "login"?: IIoK8sApiCoreV1SecretKeySelector; "refs"?: Array<{ "kind"?: "Secret" | "ConfigMap"; }>;
              "more": { [key: string]: string; }; };
}
export type { IThing as IGroupThing };
export type INames = Array<string>;
export type { INames as IGroupNames };
"#;
        all.add(file, "");
        all.add("interface Base { readonly imagePull?: string[]; /** The real one. @schema Base#otherName */ readonly other?: IGroupThing; names?: IGroupNames; }", "");
        let kinds = all.kinds();
        assert_eq!((kinds[0].group.as_str(), kinds[0].kind.as_str()), ("g.io", "Thing"));
        let spec = &kinds[0].root.fields["spec"];
        assert_eq!(spec.fields["login"].named.as_deref(), Some("SecretKeySelector"));
        let reference = spec.fields["refs"].items.as_ref().expect("a list");
        assert_eq!(reference.fields["kind"].allowed, ["Secret", "ConfigMap"]);
        assert!(spec.fields["more"].values.as_ref().expect("a map").is_text);
        assert!(kinds[0].root.fields["names"].items.as_ref().expect("a list").is_text);
        assert!(kinds[0].root.fields["imagePull"].items.as_ref().expect("a list").is_text);
        let inner = &kinds[0].root.fields["otherName"];
        assert!(inner.fields["otherName"].fields.is_empty(), "a type in itself ends");
    }
}
