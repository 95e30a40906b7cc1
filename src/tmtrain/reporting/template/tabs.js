// One section of figures at a time; without this script all of them are shown, and the links are anchors.
"use strict";
(() => {
  const figures = document.getElementById("figures");
  const tabs = [...figures.querySelectorAll(".tabs a")];
  if (tabs.length === 0) return;
  const sections = [...figures.querySelectorAll(".section")];
  const show = (key) => {
    if (!sections.some((section) => section.id === key)) return;
    for (const section of sections) section.classList.toggle("shown", section.id === key);
    for (const tab of tabs) {
      if (tab.hash === "#" + key) tab.setAttribute("aria-current", "true");
      else tab.removeAttribute("aria-current");
    }
  };
  figures.classList.add("tabbed");
  show(sections[0].id);
  const follow = () => {
    const key = decodeURIComponent(location.hash.slice(1));
    show(key);
    const target = document.getElementById(key);
    if (target) target.scrollIntoView();
  };
  window.addEventListener("hashchange", follow);
  if (location.hash) follow();
})();
