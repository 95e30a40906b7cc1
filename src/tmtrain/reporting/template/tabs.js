// One block of figures at a time; without this script all of them are shown, and the links are anchors.
"use strict";
(() => {
  const figures = document.getElementById("figures");
  const tabs = [...figures.querySelectorAll(".tabs a")];
  if (tabs.length === 0) return;
  const blocks = [...figures.querySelectorAll(".block")];
  const show = (key) => {
    if (!blocks.some((block) => block.id === key)) return;
    for (const block of blocks) block.classList.toggle("shown", block.id === key);
    for (const tab of tabs) {
      if (tab.hash === "#" + key) tab.setAttribute("aria-current", "true");
      else tab.removeAttribute("aria-current");
    }
  };
  figures.classList.add("tabbed");
  show(blocks[0].id);
  const follow = () => {
    const key = decodeURIComponent(location.hash.slice(1));
    show(key);
    const target = document.getElementById(key);
    if (target) target.scrollIntoView();
  };
  window.addEventListener("hashchange", follow);
  if (location.hash) follow();
})();
