"""The Gaussian process against scikit-learn's, its slopes against differences and draws, and items without genes."""

import random

import numpy as np
import pytest
from scipy.optimize import check_grad
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from nas.samplers.common import gaussian_process as module
from nas.samplers.common.gaussian_process import GaussianProcess

LOGS = np.log([0.7, 1.3, 0.4, 0.9, 0.05])


def _items(n, seed=0, genes=4):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, 3)), rng.random((n, genes))


def _targets(items):
    return np.sin(items[0][:, 0]) + items[1][:, 1] + 5.0


def _observed(items, targets, doubt=0.0):
    return module._Observed(module._distances(items, items, same=True), targets, np.full(len(targets), doubt))


def test_prediction_is_that_of_scikit_learn():
    items, new = _items(30), _items(12, 1)
    flat, flat_new = ((v[0], np.zeros_like(v[1])) for v in (items, new))  # equal genes: a constant kernel
    targets = _targets(items)
    mean, deviation = GaussianProcess(flat, targets, LOGS).predict(flat_new)
    kernel = ConstantKernel(0.7) * Matern(1.3, nu=2.5) + ConstantKernel(0.4) + WhiteKernel(0.05 + 1e-6)
    known = GaussianProcessRegressor(kernel, optimizer=None, normalize_y=True).fit(flat[0], targets)
    expected, noisy = known.predict(flat_new[0], return_std=True)
    scale = targets.std()
    assert mean == pytest.approx(expected, rel=1e-6)
    assert deviation**2 + (0.05 + 1e-6) * scale**2 == pytest.approx(noisy**2, rel=1e-5)


def test_doubtful_targets_count_less_as_scikit_learn_has_it():
    items, new = _items(30), _items(12, 1)
    flat, flat_new = ((v[0], np.zeros_like(v[1])) for v in (items, new))
    targets, errors = _targets(items), np.linspace(0, 2, 30)
    process = GaussianProcess(flat, targets, LOGS, errors)
    kernel = ConstantKernel(0.7) * Matern(1.3, nu=2.5) + ConstantKernel(0.4)
    doubt = 0.05 + 1e-6 + (errors / targets.std()) ** 2
    known = GaussianProcessRegressor(kernel, alpha=doubt, optimizer=None, normalize_y=True).fit(flat[0], targets)
    expected, deviation = known.predict(flat_new[0], return_std=True)
    assert process.predict(flat_new) == (pytest.approx(expected, rel=1e-6), pytest.approx(deviation, rel=1e-5))
    assert process.levels == pytest.approx(known.predict(flat[0]))


def test_columns_left_out_at_the_end_are_zero():
    items, new = _items(30), _items(12, 1)
    process = GaussianProcess((items[0], np.pad(items[1], ((0, 0), (0, 2)))), _targets(items), LOGS)
    wide = process.predict((new[0], np.pad(new[1], ((0, 0), (0, 3)))))
    assert np.allclose(process.predict(new), wide, rtol=1e-9)
    one_more = process.predict((new[0], np.pad(new[1], ((0, 0), (0, 3)), constant_values=1.0)))
    assert (one_more[1] > wide[1]).all()


@pytest.mark.parametrize("doubt", [0.0, 0.3])
def test_the_gradient_is_that_of_the_loss(doubt):
    items = _items(15)
    observed = _observed(items, _targets(items) - _targets(items).mean(), doubt)
    for logs in (LOGS, module._prior(2)[0], LOGS + 0.5):
        error = check_grad(lambda x: module._loss(x, observed)[0], lambda x: module._loss(x, observed)[1], logs)
        assert error < 1e-3 * np.linalg.norm(module._loss(logs, observed)[1])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("away", [-1000.0, -20.0, 20.0, 1000.0])
def test_a_line_search_that_goes_far_is_led_back(away):
    items = _items(15)
    mean, spread = module._prior(2)
    for i in range(len(mean)):
        logs = mean + away * spread * (np.arange(len(mean)) == i)
        loss, gradient = module._loss(logs, _observed(items, _targets(items) - 5.0))
        assert np.isfinite(loss) and np.isfinite(gradient).all()
        assert np.sign(gradient[i]) == np.sign(away)


def test_fitting_raises_the_likelihood_and_learns_a_smooth_function():
    items, new = _items(60), _items(200, 1)
    process = GaussianProcess(items, _targets(items))
    observed = _observed(items, (_targets(items) - _targets(items).mean()) / _targets(items).std())
    assert module._loss(process.log_parameters, observed)[0] < module._loss(module._prior(2)[0], observed)[0]
    mean, deviation = process.predict(new)
    errors = mean - _targets(new)
    assert np.sqrt(np.mean(errors**2)) < 0.5 * _targets(new).std()
    assert 0.85 < np.mean(np.abs(errors) < 2 * deviation) <= 1.0


def test_an_item_without_genes_shares_its_figures_only():
    items = _items(10)
    unknown = items[0][:1], np.full((1, 4), np.nan)
    covariance = module._covariance(module._distances(unknown, items), LOGS)
    r = np.sqrt(5) * np.linalg.norm(items[0][0] - items[0], axis=1) / 1.3
    assert covariance[0] == pytest.approx(0.7 * (1 + r + r**2 / 3) * np.exp(-r), rel=1e-9)
    both = tuple(map(np.vstack, zip(items, unknown, strict=True)))
    mean, deviation = GaussianProcess(both, np.append(_targets(items), 6.0)).predict(_items(5, 2))
    assert np.isfinite(mean).all() and (deviation > 0).all()


def test_what_is_given_later_counts_as_if_it_had_been_there():
    items, later, new = _items(20), _items(5, 3), _items(7, 4)
    errors = np.linspace(0, 1, 20)
    parts = GaussianProcess(items, _targets(items), LOGS, errors).given(later, _targets(later))
    both = tuple(map(np.vstack, zip(items, later, strict=True)))
    whole = GaussianProcess(both, np.concatenate([_targets(items), _targets(later)]), LOGS, np.append(errors, np.zeros(5)))
    assert parts.predict(new)[0] == pytest.approx(whole.predict(new)[0])


def test_many_observations_are_thinned_for_the_fit_only():
    items = _items(150)
    observed = module._Observed(module._distances(items, items, same=True), _targets(items), np.arange(150.0))
    kept = observed.thinned()
    assert [d.shape for d in kept.distances] == [(100, 100)] * 2 and len(kept.targets) == 100
    assert set(np.sort(_targets(items))[-50:]) <= set(kept.targets)
    rows = [list(_targets(items)).index(target) for target in kept.targets]
    assert list(kept.doubt) == rows
    again = module._distances(*[tuple(view[rows] for view in items)] * 2, same=True)
    assert all(np.allclose(a, b, atol=1e-6) for a, b in zip(kept.distances, again, strict=True))


def test_levels_are_the_prediction_of_what_it_was_fitted_to():
    items = _items(30)
    process = GaussianProcess(items, _targets(items), LOGS)
    assert process.levels == pytest.approx(process.predict(items)[0])


def test_the_precision_of_the_hyperparameters_is_that_of_the_score_over_draws():
    """Fisher's information is the mean square of the likelihood's slope, where targets come from the process itself."""
    items, rng = _items(12), np.random.default_rng(0)
    observed = _observed(items, np.zeros(12), doubt=0.1)
    root = np.linalg.cholesky(module._covariance_and_slopes(LOGS, observed)[0])
    mean, spread = module._prior(2)
    drawn = (_observed(items, root @ rng.standard_normal(12), doubt=0.1) for _ in range(20_000))
    slopes = [module._loss(LOGS, one)[1] for one in drawn] - (LOGS - mean) / spread**2
    information = module._precision(LOGS, observed) - np.diag(spread**-2)
    assert slopes.T @ slopes / len(slopes) == pytest.approx(information, abs=0.05 * information.max())


def test_likely_processes_are_spread_around_the_fitted_one():
    items, new = _items(30), _items(7, 1)
    fitted = GaussianProcess(items, _targets(items))
    drawn = fitted.likely(4000, random.Random(0))
    away = np.array([process.log_parameters for process in drawn]) - fitted.log_parameters
    expected = module._TAILS**2 * np.linalg.inv(module._precision(fitted.log_parameters, _observed(items, _targets(items))))
    assert np.cov(away.T) == pytest.approx(expected, abs=0.1 * expected.max())
    assert away.mean(axis=0) == pytest.approx(0, abs=0.1 * np.sqrt(expected.max()))
    together = module.predicted(drawn[:3], new)
    for process, mean, deviation in zip(drawn[:3], *together, strict=True):
        alone = GaussianProcess(items, _targets(items), process.log_parameters).predict(new)
        assert (mean, deviation) == (pytest.approx(alone[0]), pytest.approx(alone[1]))


def test_hyperparameters_that_a_line_search_may_try_have_a_finite_loss():
    rng = np.random.default_rng(0)
    views, targets = tuple(rng.normal(size=(40, 3)) for _ in range(3)), rng.normal(size=40)
    for logs in ([-9.92, 0.81, 24.9, -54.9, -31.16, 12.9, -65.49], [40.0, 20.0, 40.0, 20.0, 40.0, 20.0, -90.0]):
        loss, gradient = module._loss(np.array(logs), _observed(views, targets))
        assert np.isfinite(loss) and np.isfinite(gradient).all()
