"""Train: plan a run, watch it, read what it left."""

import streamlit as st

from medbench import (
    preflight,
    ui,
    ui_train_folds,
    ui_train_form,
    ui_train_list,
    ui_train_models,
    ui_train_plan,
    ui_train_result,
    ui_train_run,
    ui_train_search,
)
from medbench.records import RunSpec
from medbench.workspace import Workspace


def draw_plan(workspace: Workspace) -> None:
    dataset = ui_train_plan.choose_dataset(workspace)
    if dataset is None:
        return
    beat = st.container()  # filled last: on a large dataset it takes a while, and the form need not wait for it
    family = ui_train_plan.choose_family(dataset)
    options = ui_train_form.draw_options(family, ui_train_models.trained_on(workspace, dataset))
    tune = ui_train_search.draw_search(family)
    folds = ui_train_folds.draw_choice(family)
    fields = ui_train_form.draw_frame([card.name for card in preflight.graphics_cards()])
    ui_train_form.draw_refill()
    spec = RunSpec(
        task=dataset.task, family=family.name, dataset=dataset.id, options=options, **fields, **tune, **folds
    )
    ui_train_plan.draw_start(workspace, spec)
    with beat:
        ui_train_plan.draw_baseline(workspace, dataset)


def draw_one(workspace: Workspace, run_id: str) -> None:
    run = ui_train_run.draw_run(workspace, run_id)
    if run.alive:
        return
    if run.model:
        ui_train_result.draw_result(workspace, run.model)
    told = ui_train_run.told_by(workspace, run_id)
    ui_train_run.draw_course(told)
    ui_train_run.draw_engineering(workspace, run_id, told)


with ui.page("Train", "A model learns from a dataset, in a process of its own. You may close this page.") as workspace:
    if "run" in st.query_params:
        draw_one(workspace, st.query_params["run"])
    else:
        plan, runs = st.tabs(["New run", "Runs"], key="train_tab", on_change="rerun", bind="query-params")
        if plan.open:
            with plan, ui.guarded():
                draw_plan(workspace)
        else:
            with runs, ui.guarded():
                ui_train_list.draw_runs(workspace)
