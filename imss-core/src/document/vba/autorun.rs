//! Finds the procedures of a module that run without being called: by their names.
//!
//! In: a module's source. Out: their names as written. Only declarations count, no comments and no
//! calls. Linear.

/// Names that Word, Excel, PowerPoint, Access, Outlook, Project, Visio and Publisher call by
/// themselves, in lower case.
const NAMES: &[&str] = &[
    "autoexec",
    "autoopen",
    "autonew",
    "autoclose",
    "autoexit",
    "auto_open",
    "auto_close",
    "auto_activate",
    "auto_deactivate",
    "auto_add",
    "auto_remove",
    "auto_run",
    "auto_ope",
    "document_open",
    "document_new",
    "document_close",
    "document_beforeclose",
    "document_beforesave",
    "document_beforeprint",
    "document_contentcontrolonenter",
    "documentopen",
    "documentnew",
    "documentclose",
    "documentbeforeclose",
    "documentbeforesave",
    "documentchange",
    "documentsave",
    "newdocument",
    "app_documentopen",
    "app_newdocument",
    "app_documentbeforeclose",
    "workbook_open",
    "workbook_activate",
    "workbook_deactivate",
    "workbook_beforeclose",
    "workbook_beforesave",
    "workbook_beforeprint",
    "workbook_close",
    "workbook_sheetactivate",
    "workbook_sheetcalculate",
    "workbook_sheetchange",
    "workbook_windowactivate",
    "workbook_addininstall",
    "workbook_newsheet",
    "workbook_aftersave",
    "workbookopen",
    "worksheet_activate",
    "worksheet_calculate",
    "worksheet_change",
    "worksheet_selectionchange",
    "worksheet_deactivate",
    "worksheet_pivottableupdate",
    "presentation_open",
    "presentation_close",
    "onslideshowpagechange",
    "onslideshowterminate",
    "auto_showbegin",
    "slideshownextslide",
    "slideshowbegin",
    "slideshowend",
    "app_presentationopen",
    "application_startup",
    "application_mapilogoncomplete",
    "application_newmail",
    "application_newmailex",
    "application_itemload",
    "application_quit",
    "application_reminder",
    "project_open",
    "project_activate",
    "project_change",
    "project_beforeclose",
    "documentopened",
    "document_documentopened",
    "document_shapesadded",
    "form_load",
    "form_open",
    "form_timer",
    "report_open",
    "thisdocument_open",
    "fileopen",
    "filesave",
    "fileclose",
    "fileexit",
    "fileprint",
    "filesaveas",
    "fileprintdefault",
    "toolsmacro",
    "viewvbcode",
];

/// Events of controls on a sheet or page that fire by themselves, in lower case.
const CONTROL_EVENTS: &[&str] = &[
    "_layout",
    "_resize",
    "_gotfocus",
    "_lostfocus",
    "_mousehover",
    "_mousemove",
    "_mouseenter",
    "_mouseleave",
    "_painted",
    "_painting",
    "_beforenavigate2",
    "_beforescriptexecute",
    "_documentcomplete",
    "_downloadbegin",
    "_downloadcomplete",
    "_filedownload",
    "_navigatecomplete2",
    "_navigateerror",
    "_progresschange",
    "_propertychange",
    "_setsecurelockicon",
    "_statustextchange",
    "_titlechange",
    "_onconnecting",
    "_onload",
    "_validationerror",
    "_endplaying",
    "_readystatechange",
    "_openstatechange",
    "_playstatechange",
];

/// Whether `name` is called by an Office program by itself.
pub(super) fn is_automatic(name: &str, is_form: bool) -> bool {
    let name = name.to_ascii_lowercase();
    let is_event = || CONTROL_EVENTS.iter().any(|event| name.ends_with(event));
    // A form's own controls only fire once something shows the form.
    NAMES.contains(&name.as_str()) || !is_form && is_event()
}

/// The automatic procedures of `source`, each once.
pub(super) fn procedures(source: &str, is_form: bool) -> Vec<&str> {
    let mut found: Vec<&str> = Vec::new();
    for name in declared(source) {
        if is_automatic(name, is_form) && !found.contains(&name) {
            found.push(name);
        }
    }
    found
}

/// The names of all procedures that `source` declares.
pub(super) fn declared(source: &str) -> impl Iterator<Item = &str> {
    source.lines().filter_map(|line| {
        let mut words = line.split([' ', '\t']).filter(|word| !word.is_empty());
        let mut word = words.next()?;
        while ["public", "private", "friend", "static", "global"]
            .contains(&word.to_ascii_lowercase().as_str())
        {
            word = words.next()?;
        }
        if !["sub", "function"].contains(&word.to_ascii_lowercase().as_str()) {
            return None;
        }
        let name = words.next()?.split(['(', ':', '\'']).next()?;
        (!name.is_empty()).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn automatic_procedures_are_declared_by_name() {
        let cases: [(&str, &str, bool, &[&str]); 9] = [
            ("Word", "Sub AutoOpen()\r\n", false, &["AutoOpen"]),
            (
                "any case and visibility",
                "  Private  Static SUB document_OPEN ( )",
                false,
                &["document_OPEN"],
            ),
            (
                "Excel",
                "Sub Workbook_Open()\nSub Auto_Close()",
                false,
                &["Workbook_Open", "Auto_Close"],
            ),
            (
                "a control on a page",
                "Sub InkPicture1_Painted(ByVal x)",
                false,
                &["InkPicture1_Painted"],
            ),
            ("a control on a form", "Sub Box1_MouseMove()", true, &[]),
            ("another name", "Sub AutoOpener()\nFunction Total()", false, &[]),
            ("a call is none", "Call AutoOpen\nAutoOpen", false, &[]),
            ("a comment is none", "' Sub AutoOpen()\nRem Sub AutoOpen()", false, &[]),
            ("its end is none", "End Sub AutoOpen", false, &[]),
        ];
        for (name, source, is_form, expected) in cases {
            assert_eq!(procedures(source, is_form), expected, "{name}");
        }
    }
}
