//! A dashboard as Grafana writes it down: rows of panels on a grid of 24 columns.

use serde_json::{Value, json};

const COLUMNS: u32 = 24;
const ROW_HEIGHT: u32 = 1;

/// One page.
pub(super) struct Dashboard {
    /// Part of its address in Grafana; never changes.
    pub(super) uid: &'static str,
    pub(super) title: &'static str,
    pub(super) rows: &'static [Row],
    /// A list of values to choose from, for `$name` in the queries.
    pub(super) variable: Option<Variable>,
}

/// Panels that answer one question.
pub(super) struct Row {
    pub(super) title: &'static str,
    pub(super) panels: &'static [Panel],
}

/// One picture.
pub(super) struct Panel {
    pub(super) title: &'static str,
    pub(super) picture: Picture,
    /// As Grafana calls it: `reqps`, `percentunit`, `s`.
    pub(super) unit: &'static str,
    pub(super) queries: &'static [Query],
}

/// How numbers are shown.
#[derive(Clone, Copy)]
pub(super) enum Picture {
    /// The last one, large.
    Number,
    /// Lines over time.
    Lines,
    /// Stacked columns over time.
    Columns,
    /// The last ones as bars beside each other.
    Bars,
}

/// PromQL, and what to call its series.
pub(super) struct Query {
    pub(super) expr: &'static str,
    pub(super) legend: &'static str,
}

/// The values of a label.
#[derive(Clone, Copy)]
pub(super) struct Variable {
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    pub(super) metric: &'static str,
    pub(super) label: &'static str,
}

impl Picture {
    fn kind(self) -> &'static str {
        match self {
            Self::Number => "stat",
            Self::Lines | Self::Columns => "timeseries",
            Self::Bars => "bargauge",
        }
    }

    fn size(self) -> (u32, u32) {
        match self {
            Self::Number => (6, 4),
            Self::Lines | Self::Columns | Self::Bars => (12, 8),
        }
    }

    fn options(self) -> Value {
        let last = json!({ "calcs": ["lastNotNull"] });
        match self {
            Self::Number => json!({ "reduceOptions": last, "graphMode": "area", "colorMode": "value" }),
            Self::Bars => {
                json!({ "reduceOptions": last, "orientation": "horizontal", "displayMode": "basic" })
            }
            Self::Lines | Self::Columns => json!({
                "legend": { "displayMode": "list", "placement": "bottom", "showLegend": true },
                "tooltip": { "mode": "multi", "sort": "desc" },
            }),
        }
    }

    fn drawing(self) -> Value {
        match self {
            Self::Lines => {
                json!({ "drawStyle": "line", "lineWidth": 1, "fillOpacity": 10, "showPoints": "auto" })
            }
            Self::Columns => {
                json!({ "drawStyle": "bars", "fillOpacity": 70, "stacking": { "mode": "normal", "group": "A" } })
            }
            Self::Number | Self::Bars => json!({}),
        }
    }
}

impl Dashboard {
    /// The file, ending as a text file does.
    pub(super) fn to_json(&self) -> String {
        let dashboard = json!({
            "uid": self.uid,
            "title": self.title,
            "tags": ["monitoring"],
            "schemaVersion": 39,
            "version": 1,
            "editable": true,
            "graphTooltip": 1,
            "refresh": "30s",
            "time": { "from": "now-1h", "to": "now" },
            "templating": { "list": self.variable.iter().map(variable).collect::<Vec<_>>() },
            "panels": panels(self.rows),
        });
        format!("{dashboard:#}\n")
    }
}

fn data_source() -> Value {
    json!({ "type": "prometheus", "uid": "monitoring" })
}

fn variable(variable: &Variable) -> Value {
    let Variable { name, title, metric, label } = variable;
    let values = format!("label_values({metric}, {label})");
    json!({
        "name": name,
        "label": title,
        "type": "query",
        "datasource": data_source(),
        "definition": values,
        "query": { "qryType": 1, "query": values, "refId": "values" },
        "refresh": 2,
        "sort": 1,
        "multi": true,
        "includeAll": true,
        "allValue": ".*",
        "current": { "text": ["All"], "value": ["$__all"] },
    })
}

/// Lays the rows out one below the other, panels from left to right.
fn panels(rows: &[Row]) -> Vec<Value> {
    let mut panels = Vec::new();
    let mut y = 0;
    for row in rows {
        panels.push(json!({
            "id": panels.len() + 1, "type": "row", "title": row.title, "collapsed": false, "panels": [],
            "gridPos": { "x": 0, "y": y, "w": COLUMNS, "h": ROW_HEIGHT },
        }));
        y += ROW_HEIGHT;
        let (mut x, mut line_height) = (0, 0);
        for panel in row.panels {
            let (width, height) = panel.picture.size();
            if x + width > COLUMNS {
                (x, y, line_height) = (0, y + line_height, 0);
            }
            let place = json!({ "x": x, "y": y, "w": width, "h": height });
            panels.push(panel.to_json(panels.len() + 1, place));
            (x, line_height) = (x + width, line_height.max(height));
        }
        y += line_height;
    }
    panels
}

impl Panel {
    fn to_json(&self, id: usize, place: Value) -> Value {
        let queries = self.queries.iter().zip('A'..).map(|(query, name)| {
            json!({
                "refId": name, "datasource": data_source(), "editorMode": "code",
                "expr": query.expr, "legendFormat": query.legend,
                // Durations lead to requests.
                "exemplar": query.expr.contains("_bucket"),
                "range": !matches!(self.picture, Picture::Bars), "instant": matches!(self.picture, Picture::Bars),
            })
        });
        json!({
            "id": id,
            "type": self.picture.kind(),
            "title": self.title,
            "gridPos": place,
            "datasource": data_source(),
            "targets": queries.collect::<Vec<_>>(),
            "options": self.picture.options(),
            "fieldConfig": {
                "defaults": { "unit": self.unit, "min": 0, "custom": self.picture.drawing() },
                "overrides": [],
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUERIES: &[Query] = &[Query { expr: "up", legend: "{{job}}" }];

    const fn panel(title: &'static str, picture: Picture) -> Panel {
        Panel { title, picture, unit: "short", queries: QUERIES }
    }

    #[test]
    fn panels_fill_lines_from_the_left_and_rows_begin_anew() {
        const ROWS: &[Row] = &[
            Row {
                title: "first",
                panels: &[
                    panel("a", Picture::Number),
                    panel("b", Picture::Lines),
                    panel("c", Picture::Lines),
                ],
            },
            Row { title: "second", panels: &[panel("d", Picture::Bars)] },
        ];
        let places: Vec<_> = panels(ROWS)
            .iter()
            .map(|panel| {
                let place = |side: &str| panel["gridPos"][side].as_u64().unwrap();
                (panel["title"].as_str().unwrap().to_owned(), place("x"), place("y"))
            })
            .collect();
        let expected =
            [("first", 0, 0), ("a", 0, 1), ("b", 6, 1), ("c", 0, 9), ("second", 0, 17), ("d", 0, 18)];
        assert_eq!(places, expected.map(|(title, x, y)| (title.to_owned(), x, y)));
    }
}
