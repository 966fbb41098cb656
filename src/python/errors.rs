//! The core's errors → the exceptions of `clarifai_annotations.errors`. The only place that raises.

use pyo3::{
    exceptions::PyRuntimeError,
    intern,
    prelude::*,
    types::{IntoPyDict as _, PyDict},
};

use super::progress::Work;
use crate::{
    client::Failure,
    config::{ConfigurationError, Credential, Origins, Settings, TOKENS_URL},
    error::{Error, Kind, Reach, Status},
    ids::IdError,
    plan_file::App,
    report::Outcome,
    wire::{self, StatusCode},
};

/// `ConfigurationError`.
pub fn configuration_error(py: Python<'_>, error: &ConfigurationError) -> PyErr {
    exception(py, "ConfigurationError", error.to_string(), Ok(PyDict::new(py)))
}

/// `IdError`, which is a `TypeError` too where the type is wrong.
pub fn id_error(py: Python<'_>, error: &IdError) -> PyErr {
    let class = if error.is_type_error() { "IdTypeError" } else { "IdError" };
    exception(py, class, error.to_string(), [("index", error.index())].into_py_dict(py))
}

/// The error of a call for one annotation.
pub fn failure(
    py: Python<'_>,
    failure: &Failure,
    settings: &Settings,
    input_id: &str,
    annotation_id: &str,
) -> PyErr {
    let Failure { outcome, error } = failure;
    let which = format!("annotation {annotation_id:?} of input {input_id:?}");
    let (what, advice) = match outcome {
        Outcome::Deleted => (format!("{which} was deleted"), String::new()),
        Outcome::Absent => (
            format!("{which} is not there"),
            ". Check both IDs, the input's comes first; if an absent one is as good as a deleted one, pass \
             missing_ok=True"
                .into(),
        ),
        Outcome::Failed | Outcome::Unsent => {
            (format!("{which} was not deleted"), advice(error, settings, Work::Deleting))
        }
        Outcome::Unknown => (
            format!("whether {which} was deleted is unknown"),
            match error {
                Error::Api(status) if status.kind() != Kind::Other => advice(error, settings, Work::Deleting),
                _ => ". Call again with missing_ok=True to make sure".into(),
            },
        ),
    };
    // One that is not there is a LookupError, by whatever code the service says so.
    let class = if *outcome == Outcome::Absent { "NotFoundError" } else { class_of(error) };
    exception(py, class, format!("{what}: {error}{advice}"), attributes(py, error))
}

/// The error of a call for many that was stopped before everything was attempted.
pub fn stopped(
    py: Python<'_>,
    error: &Error,
    settings: &Settings,
    work: Work,
    summary: &str,
    report: &Bound<'_, PyAny>,
) -> PyErr {
    let reason = format!("{error}{}", advice(error, settings, work));
    let message = format!("{summary}: {reason}. See .report");
    let attributes = attributes(py, error).and_then(|attributes| {
        attributes.set_item(intern!(py, "report"), report)?;
        attributes.set_item(intern!(py, "reason"), reason)?;
        Ok(attributes)
    });
    exception(py, class_of(error), message, attributes)
}

/// `DeletionError`: everything was attempted, and not everything is deleted.
pub fn deletion_error(py: Python<'_>, message: String, report: &Bound<'_, PyAny>) -> PyErr {
    exception(py, "DeletionError", message, [("report", report)].into_py_dict(py))
}

/// `RestoreError`: everything was attempted, and not everything is there.
pub fn restore_error(py: Python<'_>, message: String, report: &Bound<'_, PyAny>) -> PyErr {
    exception(py, "RestoreError", message, [("report", report)].into_py_dict(py))
}

/// `PlanError`.
pub fn plan_error(py: Python<'_>, message: String) -> PyErr {
    exception(py, "PlanError", message, Ok(PyDict::new(py)))
}

/// `ConfigurationError`: a plan is of another app than the client that is to execute it.
pub fn other_app(py: Python<'_>, planned: &App, settings: &Settings) -> PyErr {
    let App { user_id, app_id, base_url } = planned;
    let message = format!(
        "this plan is of the app {user_id}/{app_id} at {base_url}, and the client is of {}/{} at {}: load the plan with a \
         client of its app. Nothing was sent",
        settings.user_id, settings.app_id, settings.base_url
    );
    exception(py, "ConfigurationError", message, Ok(PyDict::new(py)))
}

/// An error that no setting has a part in, such as a file that cannot be read.
pub fn without_settings(py: Python<'_>, error: &Error) -> PyErr {
    exception(py, class_of(error), error.to_string(), attributes(py, error))
}

/// An error that is not about any ID, such as a closed client, or a list that was refused.
pub fn plain(py: Python<'_>, error: &Error, settings: &Settings, work: Work) -> PyErr {
    let message = format!("{error}{}", advice(error, settings, work));
    exception(py, class_of(error), message, attributes(py, error))
}

fn class_of(error: &Error) -> &'static str {
    match error {
        Error::Api(status) => match status.kind() {
            Kind::Authentication => "AuthenticationError",
            Kind::PermissionDenied => "PermissionDeniedError",
            Kind::NotFound => "NotFoundError",
            Kind::Throttled | Kind::Exhausted => "ThrottledError",
            Kind::Other => "ApiError",
        },
        Error::Transport { .. } => "TransportError",
        Error::Deadline { .. } => "DeadlineError",
        Error::Backup { .. } => "BackupError",
        Error::Journal { .. } => "JournalError",
        Error::Limit { .. } => "DeletionLimitError",
        Error::Listing { .. } | Error::TooLarge { .. } | Error::Closed | Error::Ended { .. } => {
            "ClarifaiError"
        }
    }
}

/// What to do about it: in the settings, each by the place where it was found.
pub fn advice(error: &Error, settings: &Settings, work: Work) -> String {
    let Settings { user_id, app_id, credential, origins, .. } = settings;
    match error {
        Error::Api(status) => match status.kind() {
            Kind::Authentication => match credential {
                Credential::Pat(_) => {
                    format!(". Check the key in {}: keys are made at {TOKENS_URL}", origins.credential)
                }
                Credential::SessionToken(_) => {
                    format!(". Check the session token in {}: it may have expired", origins.credential)
                }
            },
            // <https://docs.clarifai.com/control/authentication/scopes>
            Kind::PermissionDenied if status.code == StatusCode::AnnotationPermissionDenied as i32 => {
                format!(
                    ". The owner of an app may change everybody's annotations, a collaborator only their own: is the key \
                     in {} that of {user_id:?}?",
                    origins.credential
                )
            }
            Kind::PermissionDenied => format!(
                ". Give the key in {} the scopes {} at {TOKENS_URL}; a collaborator needs them in the app too",
                origins.credential,
                scopes(work).join(", ")
            ),
            Kind::NotFound => {
                let Origins { user_id: of_user_id, app_id: of_app_id, .. } = origins;
                format!(
                    ". Check user_id {user_id:?}{} and app_id {app_id:?}{}",
                    of_user_id.after_value(),
                    of_app_id.after_value()
                )
            }
            Kind::Throttled => {
                ". Others may use the same quota, or it may be lower than requests_per_second: wait, or lower that".into()
            }
            Kind::Exhausted => exhausted(status.code),
            Kind::Other => match StatusCode::try_from(status.code) {
                Ok(
                    StatusCode::RequestDisabledForMaintenance | StatusCode::InputWritesDisabledForMaintenance,
                ) => ". The service is closed for maintenance, which may last hours: call again later".into(),
                _ => String::new(),
            },
        },
        Error::Transport { reach: Reach::Sent, message } => {
            let place = origins.base_url.to_string();
            // It may say already what is wrong there.
            if message.contains(&place) { String::new() } else { format!(". Check {place} and the network") }
        }
        Error::Deadline { .. } => {
            ". Allow more time, or call again: what is gone by then is reported as absent".into()
        }
        // Where nothing was sent, the text says what to do.
        Error::Transport { .. }
        | Error::Backup { .. }
        | Error::Journal { .. }
        | Error::Limit { .. }
        | Error::Listing { .. }
        | Error::TooLarge { .. }
        | Error::Closed
        | Error::Ended { .. } => String::new(),
    }
}

/// The scopes that a key needs: for a deletion those of its lists too.
fn scopes(work: Work) -> Vec<&'static str> {
    let methods: &[&str] = match work {
        Work::LookingUp => &["ListAnnotations"],
        Work::Deleting => &["DeleteAnnotations", "ListAnnotations"],
        Work::Restoring => &["PostAnnotations", "ListAnnotations"],
    };
    let mut scopes: Vec<_> = methods.iter().flat_map(|method| wire::scopes(method)).copied().collect();
    scopes.sort_unstable();
    scopes.dedup();
    scopes
}

/// Which limit of the account is used up, and where to look.
fn exhausted(code: i32) -> String {
    let which = match StatusCode::try_from(code) {
        Ok(StatusCode::ConnExceedHourlyLimit) => {
            "The hourly limit of the account is used up: call again in an hour"
        }
        Ok(StatusCode::ConnExceedMonthlyLimit) => "The monthly limit of the account is used up",
        _ => "A limit of the account is reached, or a bill is open",
    };
    format!(". {which}: its usage and its plan are in its settings, under Billing, at https://clarifai.com")
}

fn attributes<'py>(py: Python<'py>, error: &Error) -> PyResult<Bound<'py, PyDict>> {
    let attributes = PyDict::new(py);
    if let Error::Api(Status { code, name, description, details, request_id }) = error {
        attributes.set_item(intern!(py, "code"), code)?;
        attributes.set_item(intern!(py, "name"), name)?;
        attributes.set_item(intern!(py, "description"), description)?;
        attributes.set_item(intern!(py, "details"), details)?;
        attributes.set_item(intern!(py, "request_id"), request_id)?;
    }
    Ok(attributes)
}

fn exception(py: Python<'_>, class: &str, message: String, attributes: PyResult<Bound<'_, PyDict>>) -> PyErr {
    let made = attributes.and_then(|attributes| {
        let errors = py.import(intern!(py, "clarifai_annotations.errors"))?;
        errors.getattr(class)?.call((&message,), Some(&attributes))
    });
    match made {
        Ok(exception) => PyErr::from_value(exception),
        // The package is broken; the message matters more.
        Err(cause) => {
            let error = PyRuntimeError::new_err(message);
            error.set_cause(py, Some(cause));
            error
        }
    }
}
