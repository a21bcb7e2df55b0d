"""A tagger of the authors' package lloca 2.0.0.

The package has frames and backbones; what stands around them is written here from the published description, one jet
at a time, in double precision: the floor of masses, references, the global frame, features, the global item.
"""

from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tests.support import peer


def ask(directory: Path, **request: Any) -> dict[str, Any]:
    """State dict, logits, and seconds if asked for.

    Args:
        directory: where the package was unpacked.
        request: settings of :class:`Tagger`; momenta, a list of (n, 4) px, py, pz, E; others, a list of (n, K); label;
            steps of training before the answer.
    """
    return peer.ask(directory, _answer, request)


def features(momenta: Tensor, jet: Tensor, at_rest: bool = False) -> Tensor:
    """The seven features of momenta (n, 4) E, px, py, pz with regard to (n, 4).

    Of a jet at rest, of whose direction nothing but rounding is left, pT is 1e-10 GeV and all azimuths are 0 from it.
    """

    def angles(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        length = x[:, 1:].square().sum(1).sqrt()
        return x[:, 1:3].square().sum(1).sqrt(), torch.atan2(x[:, 2], x[:, 1]), torch.atanh(x[:, 3] / length)

    (pt, phi, eta), (pt_jet, phi_jet, eta_jet) = angles(momenta), angles(jet)
    if at_rest:
        pt_jet, phi_jet, eta_jet = torch.full_like(pt, 1e-10), phi, torch.zeros_like(eta)
    dphi = (phi - phi_jet + torch.pi) % (2 * torch.pi) - torch.pi
    deta = -(eta - eta_jet)
    return torch.stack(
        [
            (pt.log() - 1.7) * 0.7,
            (momenta[:, 0].log() - 2.0) * 0.7,
            ((pt / pt_jet).log() + 4.7) * 0.7,
            ((momenta[:, 0] / jet[:, 0]).log() + 4.7) * 0.7,
            dphi,
            deta,
            ((dphi**2 + deta**2).sqrt() - 0.2) * 4,
        ],
        1,
    )


def with_floor(momenta: Tensor, floor: float = 5e-3) -> Tensor:
    """E, px, py, pz with at least this mass."""
    p2 = momenta[:, 1:].square().sum(1)
    light = momenta[:, 0] ** 2 - p2 < floor**2
    return torch.cat([torch.where(light, (p2 + floor**2).sqrt(), momenta[:, 0])[:, None], momenta[:, 1:]], 1)


def turned(momenta: Tensor, jet: Tensor) -> Tensor:
    """E, px, py, pz with the rapidity and the azimuth of the jet (4,) taken from theirs."""
    pt, phi = momenta[:, 1:3].square().sum(1).sqrt(), torch.atan2(momenta[:, 2], momenta[:, 1])
    mt = (momenta[:, 0] ** 2 - momenta[:, 3] ** 2).sqrt()
    y = torch.atanh(momenta[:, 3] / momenta[:, 0]) - torch.atanh(jet[3] / jet[0])
    phi = phi - torch.atan2(jet[2], jet[1])
    return torch.stack([mt * y.cosh(), pt * phi.cos(), pt * phi.sin(), mt * y.sinh()], 1)


class Tagger(nn.Module):
    """Frames and a backbone of the package, and what stands around them."""

    def __init__(self, request: dict[str, Any]) -> None:
        super().__init__()
        from lloca.backbone import Transformer, TransformerV2
        from lloca.equivectors import MLPVectors
        from lloca.framesnet import LearnedPDFrames

        self.canonical, self.item = request["canonical"], request["item"]
        inputs = 7 + request["others"][0].shape[1]
        vectors = partial(
            MLPVectors,
            num_scalars=inputs,
            hidden_channels=request["frame_width"],
            num_layers_mlp=request["frame_layers"],
        )
        self.framesnet = LearnedPDFrames(vectors)
        backbone = TransformerV2 if request["version"] == 2 else Transformer
        self.net = backbone(
            in_channels=inputs + self.item,
            out_channels=request["classes"],
            preserve_variance=request["keep_variance"],
            **request["backbone"],
        )

    def start(self, momenta: Tensor) -> Tensor:
        """References, then particles, in the global frame."""
        from lloca.utils.polar_decomposition import restframe_boost

        references = momenta.new_tensor([[1, 0, 0, 1], [1, 0, 0, -1], [1, 0, 0, 0]])
        items = with_floor(torch.cat([references, momenta]))
        jet = items[3:].sum(0)
        if self.canonical == "beam":
            return turned(items, jet)
        return items @ restframe_boost(jet).T if self.canonical == "rest" else items

    def forward(self, momenta: list[Tensor], others: list[Tensor]) -> Tensor:
        from lloca.framesnet.frames import Frames

        items = [self.start(x) for x in momenta]
        rest = self.canonical == "rest"
        known = [
            torch.cat([y, features(x[3:], x[3:].sum(0)[None], rest)], 1) for x, y in zip(items, others, strict=True)
        ]
        scalars = [torch.cat([torch.zeros(3, x.shape[1]).double(), x]) for x in known]
        ptr = torch.tensor([0, *(len(x) for x in items)]).cumsum(0)
        self.framesnet.equivectors.init_standardization(torch.cat(items), ptr)
        matrices = self.framesnet(torch.cat(items), torch.cat(scalars), ptr=ptr).matrices
        logits = []
        for x, y, of_jet in zip(items, others, matrices.split([len(x) for x in items]), strict=True):
            particles, frames = x[3:], of_jet[3:]
            jet = particles.sum(0)
            local = features((frames @ particles[:, :, None])[:, :, 0], frames @ jet)
            inputs = torch.cat([y, local], 1)
            if self.item:
                inputs = nn.functional.pad(inputs, (0, 1, 1, 0))
                inputs[0, -1] = 1
                frames = torch.cat([torch.eye(4).double()[None], frames])
            outputs = self.net(inputs[None], Frames(frames[None]), p_ref=jet[None])[0]
            logits.append(outputs[0] if self.item else outputs.mean(0))
        return torch.stack(logits)


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    torch.manual_seed(0)
    model = Tagger(request).double()
    momenta, others = [x[:, [3, 0, 1, 2]].double() for x in request["momenta"]], [x.double() for x in request["others"]]
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    for _ in range(request["steps"]):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(momenta, others), request["label"]).backward()
        optimizer.step()
    model.eval()
    logits = model(momenta, others)
    loss = nn.functional.cross_entropy(logits, request["label"])
    optimizer.zero_grad()
    loss.backward()
    return {
        "state": {name: value.clone() for name, value in model.state_dict().items()},
        "logits": logits.detach(),
        "gradients": {name: item.grad for name, item in model.named_parameters()},
    }
