//! Expands a parsed template, with bounds on everything it could be made to take: time, memory, stack.

use std::collections::HashMap;
use std::rc::Rc;

use chrono::{DateTime, Utc};

use super::expression::{Expression, too_long};
use super::functions::{call, results, top};
use super::syntax::{Branch, Node, Operand, Pipeline, Template};
use super::value::Value;
use super::{Answers, OUTPUT_BYTES_MAX, Steps, TemplateData, TemplateError};

/// Templates calling templates.
const CALLS_MAX: usize = 50;
/// Blocks and calls in one another.
const DEPTH_MAX: usize = 100;
/// Bytes of all values that are copied or made.
pub(super) const COPIED_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Bytes that are copied in about the time of a step.
const COPIED_BYTES_PER_STEP: usize = 512;

type Result<T> = std::result::Result<T, TemplateError>;

/// Since 1970, as Prometheus has them: whole milliseconds.
#[expect(clippy::cast_precision_loss, reason = "milliseconds of dates are told apart")]
fn seconds(time: DateTime<Utc>) -> f64 {
    time.timestamp_millis() as f64 / 1_000.0
}

pub(super) struct Run<'a> {
    template: &'a Template,
    data: TemplateData<'a>,
    answers: &'a Answers,
    variables: Vec<(String, Value)>,
    output: String,
    expressions: HashMap<String, Rc<Expression>>,
    calls: usize,
    steps: &'a mut Steps,
    depth: usize,
    copied_bytes: usize,
}

/// How a list of nodes ended.
#[derive(PartialEq)]
enum Flow {
    On,
    Break,
    Continue,
}

impl<'a> Run<'a> {
    pub(super) fn new(
        template: &'a Template,
        data: TemplateData<'a>,
        answers: &'a Answers,
        steps: &'a mut Steps,
    ) -> Self {
        let mut run = Self {
            template,
            data,
            answers,
            variables: Vec::new(),
            output: String::new(),
            expressions: HashMap::new(),
            calls: 0,
            steps,
            depth: 0,
            copied_bytes: 0,
        };
        let dot = run.dot();
        for (variable, field) in [
            ("labels", "Labels"),
            ("externalLabels", "ExternalLabels"),
            ("externalURL", "ExternalURL"),
            ("value", "Value"),
        ] {
            let value = dot.field(field).unwrap_or(Value::Nothing);
            run.variables.push((variable.to_owned(), value));
        }
        run.variables.push((String::new(), dot));
        run
    }

    pub(super) fn text(mut self) -> Result<String> {
        let dot = self.dot();
        self.charge(dot.size())?;
        self.nodes(&self.template.body, &dot)?;
        Ok(self.output)
    }

    fn dot(&self) -> Value {
        let TemplateData { labels, external_labels, external_url, value, .. } = self.data;
        top(labels, external_labels, external_url, value)
    }

    fn nodes(&mut self, nodes: &'a [Node], dot: &Value) -> Result<Flow> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            let message = format!("more than {DEPTH_MAX} blocks and calls in one another");
            return Err(TemplateError::execution(message));
        }
        for node in nodes {
            self.steps.take(1)?;
            match self.node(node, dot)? {
                Flow::On => {}
                flow => {
                    self.depth -= 1;
                    return Ok(flow);
                }
            }
        }
        self.depth -= 1;
        Ok(Flow::On)
    }

    /// Counts bytes of a value that is about to be copied, or was made.
    fn charge(&mut self, bytes: usize) -> Result<()> {
        let before = self.copied_bytes / COPIED_BYTES_PER_STEP;
        self.copied_bytes += bytes;
        self.steps.take(self.copied_bytes / COPIED_BYTES_PER_STEP - before)?;
        match self.copied_bytes > COPIED_BYTES_MAX {
            true => Err(TemplateError::execution("the template's values take too much memory")),
            false => Ok(()),
        }
    }

    fn node(&mut self, node: &'a Node, dot: &Value) -> Result<Flow> {
        match node {
            Node::Text(text) => self.write(text)?,
            Node::Output(pipeline) => {
                let value = self.pipeline(pipeline, dot)?;
                if pipeline.variables.is_empty() {
                    self.write(&value.to_string())?;
                }
            }
            Node::Branch { kind, on, then, otherwise } => {
                let scope = self.variables.len();
                let flow = self.branch(*kind, on, (then, otherwise), dot)?;
                self.variables.truncate(scope);
                return Ok(flow);
            }
            Node::Call { name, with } => self.call_template(name, with.as_ref(), dot)?,
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::On)
    }

    fn branch(
        &mut self,
        kind: Branch,
        on: &'a Pipeline,
        (then, otherwise): (&'a [Node], &'a [Node]),
        dot: &Value,
    ) -> Result<Flow> {
        if kind == Branch::Range {
            return self.range(on, (then, otherwise), dot);
        }
        let value = self.pipeline(on, dot)?;
        match (value.is_true(), kind) {
            (false, _) => self.nodes(otherwise, dot),
            (true, Branch::With) => self.nodes(then, &value),
            (true, _) => self.nodes(then, dot),
        }
    }

    fn range(
        &mut self,
        on: &'a Pipeline,
        (then, otherwise): (&'a [Node], &'a [Node]),
        dot: &Value,
    ) -> Result<Flow> {
        let elements = self.commands(on, dot)?.elements()?;
        if elements.is_empty() {
            return self.nodes(otherwise, dot);
        }
        for (key, element) in elements {
            let scope = self.variables.len();
            match on.variables.as_slice() {
                [] => {}
                [each] => self.set(each, element.clone(), on.is_assignment),
                [index, each, ..] => {
                    self.set(index, key, on.is_assignment);
                    self.set(each, element.clone(), on.is_assignment);
                }
            }
            let flow = self.nodes(then, &element)?;
            self.variables.truncate(scope);
            if flow == Flow::Break {
                break;
            }
        }
        Ok(Flow::On)
    }

    fn call_template(&mut self, name: &str, with: Option<&'a Pipeline>, dot: &Value) -> Result<()> {
        let template = self.template;
        let nodes = template.definitions.get(name);
        let nodes =
            nodes.ok_or_else(|| TemplateError::execution(format!("template {name:?} not defined")))?;
        self.calls += 1;
        if self.calls > CALLS_MAX {
            return Err(TemplateError::execution(format!("more than {CALLS_MAX} calls of templates")));
        }
        let given = match with {
            Some(pipeline) => self.pipeline(pipeline, dot)?,
            None => Value::Nothing,
        };
        let outer = std::mem::replace(&mut self.variables, vec![(String::new(), given.clone())]);
        let done = self.nodes(nodes, &given);
        self.variables = outer;
        done.map(drop)
    }

    fn write(&mut self, text: &str) -> Result<()> {
        if self.output.len() + text.len() > OUTPUT_BYTES_MAX {
            return Err(too_long());
        }
        self.output.push_str(text);
        Ok(())
    }

    fn pipeline(&mut self, pipeline: &'a Pipeline, dot: &Value) -> Result<Value> {
        let value = self.commands(pipeline, dot)?;
        for variable in &pipeline.variables {
            self.set(variable, value.clone(), pipeline.is_assignment);
        }
        Ok(value)
    }

    fn commands(&mut self, pipeline: &'a Pipeline, dot: &Value) -> Result<Value> {
        let mut piped = None;
        for command in &pipeline.commands {
            piped = Some(self.command(command, piped, dot)?);
        }
        Ok(piped.unwrap_or(Value::Nothing))
    }

    fn set(&mut self, name: &str, value: Value, is_assignment: bool) {
        if is_assignment
            && let Some((_, known)) = self.variables.iter_mut().rev().find(|(known, _)| known == name)
        {
            *known = value;
        } else {
            self.variables.push((name.to_owned(), value));
        }
    }

    fn command(&mut self, operands: &'a [Operand], piped: Option<Value>, dot: &Value) -> Result<Value> {
        let Some((first, rest)) = operands.split_first() else { return Ok(Value::Nothing) };
        let Operand::Function(name) = first else {
            if !rest.is_empty() || piped.is_some() {
                return Err(TemplateError::execution("can't give argument to non-function"));
            }
            return self.operand(first, dot);
        };
        if let "and" | "or" = name.as_str() {
            return self.shortest_way(name == "or", rest, piped, dot);
        }
        let mut arguments = Vec::with_capacity(rest.len() + 1);
        for operand in rest {
            arguments.push(self.operand(operand, dot)?);
        }
        arguments.extend(piped);
        self.function(name, &arguments)
    }

    /// `and` and `or` end with the first argument that decides.
    fn shortest_way(
        &mut self,
        decided_by: bool,
        operands: &'a [Operand],
        piped: Option<Value>,
        dot: &Value,
    ) -> Result<Value> {
        let mut last = None;
        for operand in operands {
            let value = self.operand(operand, dot)?;
            if value.is_true() == decided_by {
                return Ok(value);
            }
            last = Some(value);
        }
        piped.or(last).ok_or_else(|| TemplateError::execution("missing argument for and, or"))
    }

    fn function(&mut self, name: &str, arguments: &[Value]) -> Result<Value> {
        let value = self.value_of(name, arguments)?;
        self.charge(value.size())?;
        match value {
            Value::Text(text) if text.len() > OUTPUT_BYTES_MAX => Err(too_long()),
            value => Ok(value),
        }
    }

    fn value_of(&mut self, name: &str, arguments: &[Value]) -> Result<Value> {
        match (name, arguments) {
            ("match", [pattern, text]) => {
                let (text, expression) = (text.text()?, self.expression(pattern.text()?)?);
                expression.is_match(text, self.steps).map(Value::Bool)
            }
            ("reReplaceAll", [pattern, replacement, text]) => {
                let (replacement, text) = (replacement.text()?, text.text()?);
                let expression = self.expression(pattern.text()?)?;
                expression.replaced(replacement, text, self.steps).map(Value::Text)
            }
            ("query", [query]) => {
                let query = query.text()?;
                match self.answers.get(query) {
                    Some(Ok(samples)) => Ok(results(samples)),
                    Some(Err(error)) => Err(TemplateError::execution(format!("query {query:?}: {error}"))),
                    None => Err(TemplateError::Unanswered { query: query.to_owned() }),
                }
            }
            ("now", []) => Ok(Value::Float(seconds(self.data.now))),
            ("externalURL", []) => Ok(Value::Text(self.data.external_url.to_owned())),
            ("pathPrefix", []) => {
                let after_scheme = self.data.external_url.split_once("://").map_or("", |(_, rest)| rest);
                Ok(Value::Text(after_scheme.find('/').map_or("", |at| &after_scheme[at..]).to_owned()))
            }
            _ => call(name, arguments),
        }
    }

    /// Each expression is compiled once, however often it is asked for.
    fn expression(&mut self, pattern: &str) -> Result<Rc<Expression>> {
        if let Some(known) = self.expressions.get(pattern) {
            return Ok(known.clone());
        }
        let compiled = Rc::new(Expression::new(pattern, self.steps)?);
        self.expressions.insert(pattern.to_owned(), compiled.clone());
        Ok(compiled)
    }

    fn copied(&mut self, value: &Value) -> Result<Value> {
        self.charge(value.size())?;
        Ok(value.clone())
    }

    fn operand(&mut self, operand: &'a Operand, dot: &Value) -> Result<Value> {
        match operand {
            Operand::Dot => self.copied(dot),
            Operand::Literal(value) => self.copied(value),
            Operand::Variable(name) => {
                let known = self.variables.iter().rposition(|(known, _)| known == name);
                let known = known
                    .ok_or_else(|| TemplateError::execution(format!("undefined variable \"${name}\"")))?;
                let size = self.variables[known].1.size();
                self.charge(size)?;
                Ok(self.variables[known].1.clone())
            }
            Operand::Function(name) => self.function(name, &[]),
            Operand::Group(pipeline) => self.pipeline(pipeline, dot),
            Operand::Fields(of, names) => {
                let of = self.operand(of, dot)?;
                names.iter().try_fold(of, |value, name| value.field(name))
            }
        }
    }
}
